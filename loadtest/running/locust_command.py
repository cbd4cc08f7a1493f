"""Our suite under Locust's own command: `locust -f loadtest/locustfile.py`, as leader, worker, or both in
one process.
"""

import sys
from pathlib import Path
from typing import Any, Final

from locust.runners import LocalRunner, WorkerRunner

from loadtest.command.exits import CouldNotRun
from loadtest.running.duty import Duty, lift_limits
from loadtest.running.leading import Leading
from loadtest.running.options import Options
from loadtest.scenarios.catalogue import SCENARIOS
from loadtest.scenarios.plan import Ask

_COULD_NOT: Final = 3


def add_arguments(parser: Any) -> None:
    """Add our options to Locust's parser; `--users` and `--run-time` are its own, and count."""
    kept = {"include_in_web_ui": False}
    parser.add_argument("--scenario", default="smoke", choices=tuple(SCENARIOS), help="What to run (smoke)", **kept)
    parser.add_argument("--crowd", default="", help="People of a system that runs already; else a fresh stack", **kept)
    parser.add_argument("--rate", type=float, default=None, help="Messages (or requests) a second", **kept)
    parser.add_argument("--small", action="store_true", help="The scenario's small form: under a minute", **kept)
    parser.add_argument("--out", default="", help="Where to write; else build/load/...", **kept)
    parser.add_argument("--hook", default="", help="With --crowd: called with kill-node or drain-nodes", **kept)


def attach(environment: Any) -> None:
    """Take part in what a Locust process does."""
    lift_limits()
    given = environment.parsed_options
    if isinstance(environment.runner, WorkerRunner):
        Duty(environment.runner, Path(given.crowd) if given.crowd else None)
        return
    if isinstance(environment.runner, LocalRunner):
        Duty(environment.runner, None)
    try:
        Leading(environment, options_of(given)).open()
    except CouldNotRun as error:
        sys.stderr.write(f"loadtest: {error}\n          {error.advice}\n")
        sys.exit(_COULD_NOT)


def options_of(given: Any) -> Options:
    """Return what was given on Locust's command line."""
    seconds = float(given.run_time) if given.run_time else None
    return Options(
        scenario=given.scenario,
        ask=Ask(users=given.num_users or None, rate=given.rate, seconds=seconds, smoke=given.small),
        workers=getattr(given, "expect_workers", 1),
        crowd=Path(given.crowd) if given.crowd else None,
        out=Path(given.out) if given.out else None,
        hook=given.hook or None,
    )
