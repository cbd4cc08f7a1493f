"""`python -m loadtest preflight`: what of this machine stands in the way."""

from typing import Final

import click

from loadtest.report.result import EXIT_CODES, Verdict
from loadtest.scenarios.catalogue import SCENARIOS
from loadtest.scenarios.plan import Ask
from loadtest.watch.preflight import Check, Grade, preflight

_SIGNS: Final = {Grade.GOOD: "ok  ", Grade.WARNING: "warn", Grade.FAULT: "BAD "}
_IN_THE_WAY: Final = EXIT_CODES[Verdict.MISSED]


@click.command(name="preflight")
@click.argument("scenario", required=False, type=click.Choice(list(SCENARIOS)))
@click.option("--users", type=click.IntRange(min=1), help="How many users the run shall have  [default: 10000].")
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Generator processes here.")
def command(*, scenario: str | None, users: int | None, workers: int) -> int:
    """Look at open files, ports, clock, CPU and memory, for SCENARIO or so many users, and say what to change.

    Exit code 0: nothing is in the way, though there may be warnings. 1: a run of this size will not work here.
    """
    if users is None:
        users = 10_000 if scenario is None else SCENARIOS[scenario].plan(Ask()).seats
    click.echo(f"{users:,} users in {workers} workers:\n")
    checks = preflight(users, workers)
    for check in checks:
        click.echo(told(check))
    return _IN_THE_WAY if any(check.grade is Grade.FAULT for check in checks) else 0


def told(check: Check) -> str:
    """Return a check in one line, or two when there is something to do."""
    advice = f"\n       do: {check.advice}" if check.advice else ""
    return f"  {_SIGNS[check.grade]} {check.name}: {check.words}{advice}"
