"""What of this machine stands in a run's way, said before it begins."""

from collections.abc import Callable
from typing import Final

from loadtest.running.options import Options
from loadtest.scenarios.plan import Plan
from loadtest.watch.preflight import Grade, Machine, check_machine

_SMOKE: Final = "smoke"


def warn_beforehand(
    options: Options, plan: Plan, say: Callable[[str], None], *, machine: Machine | None = None
) -> None:
    """Say each warning of `preflight` with what to do; of a smoke run only what it will not work with.

    Workers on other machines are looked at there, by hand.
    """
    if options.remote:
        return
    small = options.ask.smoke or plan.scenario == _SMOKE
    for check in check_machine(plan.seats, options.workers, machine=machine):
        if check.grade is Grade.FAULT or (check.grade is Grade.WARNING and not small):
            say(f"preflight: {check.name}: {check.words}")
            if check.advice:
                say(f"           do: {check.advice}")
