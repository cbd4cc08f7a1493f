"""The entry point of `python -m loadtest`: which commands there are, and how they end."""

import inspect
import sys
import traceback
from collections.abc import Sequence

import click

from loadtest.command.load import master, run, seed, ui, worker
from loadtest.command.runs import calibrate, catalogue, compare, index, preflight, publish, slopes
from loadtest.exits import CouldNotRun

STOPPED = 130
"""Ctrl-C outside a run, as shells give it for SIGINT. A run that is stopped is INVALID, and writes what it has."""
EXITS = "Exit codes: 0 met; 1 missed; 2 INVALID (the generator was the limit, or it was interrupted); 3 could not run."
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


class _Group(click.Group):
    """Lists commands in the order in which they were added, that of their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


@click.group(cls=_Group, epilog=EXITS, context_settings=_CONTEXT)
def loadtest() -> None:
    """Load on Varde's relay and API, with honest latency, and a gate for releases.

    A first run:
      python -m loadtest list
      python -m loadtest run smoke
      python -m loadtest run steady --users 1000 --rate 100 --seconds 60
    """


for _each in (run, catalogue, ui, master, worker, seed, compare, slopes, index, publish, preflight, calibrate):
    loadtest.add_command(_each)
for _each in (loadtest, *loadtest.commands.values()):
    _parts = inspect.cleandoc(_each.help or "").split("\n\n")
    _each.help = "\n\n".join(f"\b\n{part}" if "\n  " in part else part for part in _parts)  # keeps lines of examples


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: whatever a command raises is told on standard error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        returned = loadtest.main(given or ["--help"], standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        return STOPPED
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else CouldNotRun.exit_code
    except click.ClickException as error:
        error.show()
        return CouldNotRun.exit_code
    except Exception:  # noqa: BLE001 - the fence: nothing but an exit code leaves the program
        traceback.print_exc()
        return CouldNotRun.exit_code
    return returned if isinstance(returned, int) else 0
