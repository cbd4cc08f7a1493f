"""The options that all commands share that run a scenario, read once into `Options`.

Nothing here imports locust: `--help` is quick.
"""

from collections.abc import Callable
from functools import partial, reduce
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from loadtest.running.options import WORKERS, Options
from loadtest.scenarios.plan import Ask

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_ASKED: Final = ("users", "rate", "seconds", "smoke")

AMOUNTS: Final = (
    click.option("--users", type=click.IntRange(min=1), help="How many, instead of the scenario's own number."),
    click.option(
        "--rate", type=click.FloatRange(min=0, min_open=True), help="Messages (or requests) a second, while judged."
    ),
    click.option(
        "--seconds", type=click.FloatRange(min=0, min_open=True), help="How long the longest judged stage lasts."
    ),
    click.option("--smoke", is_flag=True, help="The scenario's small form: under a minute, with everything."),
)
RUNNING: Final = (
    click.option(
        "--crowd", type=_FILE, help="People of a system that runs already (`seed` makes the file); else a fresh stack."
    ),
    click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where to write; else build/load/..."),
    click.option("--slo", type=_FILE, help="Other objectives than loadtest/slo.toml."),
    click.option("--nodes", type=click.IntRange(1, 16), help="Relay nodes of a fresh stack."),
    click.option("--tls/--no-tls", default=False, show_default=True, help="TLS in front of a fresh stack's relay."),
    click.option("--seed", default=1, show_default=True, help="What rooms and times are drawn with."),
    click.option("--even", is_flag=True, help="Sends at even distances, instead of at random ones as people send."),
    click.option("--keep-stack", is_flag=True, help="Leave the fresh stack running after the run, until Ctrl-C."),
    click.option("--hook", metavar="COMMAND", help="With --crowd: called with kill-node or drain-nodes as argument."),
    click.option(
        "--clock-budget",
        "clock_budget_ms",
        default=1.0,
        show_default=True,
        type=click.FloatRange(min=0),
        metavar="MS",
        help="How uncertain clocks of different machines may be; beyond it there is no verdict.",
    ),
)
WORKERS_OPTION: Final = click.option(
    "--workers", default=WORKERS, show_default=True, type=click.IntRange(1, 256), help="Processes that make the load."
)


def with_options(*groups: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Give a command the options, in this order."""
    return lambda command: reduce(lambda inner, option: option(inner), reversed(groups), command)


def options_of(scenario: str, given: dict[str, Any], **more: Any) -> Options:
    """Return what was given on the command line, and what the command adds."""
    ask = Ask(**{name: given.pop(name) for name in _ASKED})
    return Options(scenario=scenario, ask=ask, **given, **more)


load_options = partial(with_options, *AMOUNTS, *RUNNING)
