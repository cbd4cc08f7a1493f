"""The entry point of `python -m loadtest`: which commands there are."""

import inspect
import sys
from collections.abc import Sequence

import click

from loadtest.command.exits import WORDS, run_fenced
from loadtest.command.load import master, run, ui, worker
from loadtest.command.machine import calibrate, preflight
from loadtest.command.runs import catalogue, compare, index, publish
from loadtest.command.seed import seed


class _Group(click.Group):
    """Lists commands in the order in which they were added, that of their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=WORDS,
)
def loadtest() -> None:
    """Load on Varde's relay and API, with honest latency, and a gate for releases.

    A first run:
      python -m loadtest list
      python -m loadtest run smoke
      python -m loadtest run steady --users 1000 --rate 100 --seconds 60
    """


def _keep_lines(command: click.Command) -> None:
    """Let click print paragraphs with indented lines, the examples, as they are written."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(f"\b\n{each}" if "\n  " in each else each for each in paragraphs)


for _each in (run, catalogue, ui, master, worker, seed, compare, index, publish, preflight, calibrate):
    loadtest.add_command(_each)
    _keep_lines(_each)
_keep_lines(loadtest)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_fenced(lambda: loadtest.main(given or ["--help"], prog_name="python -m loadtest", standalone_mode=False))
