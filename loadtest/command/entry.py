"""The entry point of `python -m loadtest`: which commands there are.

Whoever imports Locust has a patched process; `seed` and `compare` must stay what they are.
"""

import importlib
import inspect
import sys
from collections.abc import Sequence
from typing import Final

import click

from loadtest.command.exits import WORDS, run_fenced

COMMANDS: Final = {
    "run": "Run a scenario, headless, and judge it.",
    "list": "The catalogue: each scenario and what it shows.",
    "ui": "Locust's own web page, with our charts added.",
    "master": "Lead a run whose workers are on other machines.",
    "worker": "Make load on this machine, for a master elsewhere.",
    "seed": "Settle accounts, devices, conversations and tickets in a database, fast.",
    "compare": "Say what changed between two runs, and whether it is more than noise.",
    "publish": "Put runs into the documentation.",
    "preflight": "Look at this machine's limits and say what to change.",
    "calibrate": "What the generator can do by itself, against a null server.",
}


class _Commands(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"loadtest.command.{cmd_name}").command
        assert isinstance(command, click.Command)
        _keep_lines(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _keep_lines(command: click.Command) -> None:
    """Let click print paragraphs with indented lines, the examples, as they are written."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(f"\b\n{each}" if "\n  " in each else each for each in paragraphs)


@click.group(
    cls=_Commands,
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


_keep_lines(loadtest)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_fenced(lambda: loadtest.main(given or ["--help"], prog_name="python -m loadtest", standalone_mode=False))
