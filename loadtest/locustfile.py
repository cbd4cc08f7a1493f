"""For those who know Locust: `locust -f loadtest/locustfile.py`, as master, as worker, or as both in one process."""

import sys
from pathlib import Path
from typing import Any, Final

from locust import events
from locust.runners import LocalRunner, WorkerRunner

from loadtest.exits import CouldNotRun
from loadtest.running.master import Master
from loadtest.running.master import PlanShape as PlanShape
from loadtest.running.worker import VardeUser as VardeUser
from loadtest.running.worker import Worker, lift_limits
from loadtest.scenarios.plan import SCENARIOS, Options

_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "--scenario": {"default": "smoke", "choices": tuple(SCENARIOS), "help": "What to run (smoke)"},
    "--crowd": {"default": "", "help": "People of a system that runs already; else a fresh stack"},
    "--rate": {"type": float, "default": None, "help": "Messages (or requests) a second"},
    "--small": {"action": "store_true", "help": "The scenario's small form: under a minute"},
    "--out": {"default": "", "help": "Where to write; else build/load/..."},
    "--hook": {"default": "", "help": "With --crowd: called with the action, such as kill-node"},
}


def _add_options(parser: Any) -> None:
    """Add ours to Locust's own; its `--users` and `--run-time` count."""
    for name, words in _OPTIONS.items():
        parser.add_argument(name, include_in_web_ui=False, **words)


def _attach(environment: Any, **_: Any) -> None:
    """Take part in what a Locust process does."""
    lift_limits()
    given = environment.parsed_options
    crowd = Path(given.crowd) if given.crowd else None
    if isinstance(environment.runner, WorkerRunner):
        Worker(environment.runner, crowd)
        return
    if isinstance(environment.runner, LocalRunner):
        Worker(environment.runner, None)
    seconds = float(given.run_time) if given.run_time else None
    options = Options(
        scenario=given.scenario,
        users=given.num_users or None,
        rate=given.rate,
        seconds=seconds,
        smoke=given.small,
        workers=getattr(given, "expect_workers", 1),
        crowd=crowd,
        out=Path(given.out) if given.out else None,
        hook=given.hook or None,
    )
    try:
        Master(environment, options).open()
    except CouldNotRun as error:
        error.show()
        sys.exit(error.exit_code)


events.init_command_line_parser.add_listener(_add_options)  # type: ignore[no-untyped-call]
events.init.add_listener(_attach)  # type: ignore[no-untyped-call]
