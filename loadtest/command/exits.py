"""How a command of the suite ends: exit codes, and what its caller did wrong as a sentence and what to do about it."""

import sys
import traceback
from collections.abc import Callable
from typing import Final

import click

from loadtest.report.result import EXIT_CODES, Verdict

COULD_NOT: Final = EXIT_CODES[Verdict.FAILED]
STOPPED: Final = 130
"""Ctrl-C outside a run, as shells give it for SIGINT. A run that is stopped is INVALID, and writes what it has."""

WORDS: Final = """
Exit codes: 0 met; 1 missed; 2 INVALID (the generator was the limit, or the run was interrupted); 3 could not run.
"""


class CouldNotRun(Exception):
    """What a person can understand: what is wrong and what to do about it."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.advice = advice


def run_fenced(command: Callable[[], object]) -> int:
    """Run a command and return its exit code; whatever it raises is told on standard error."""
    try:
        returned = command()
    except BaseException as error:  # noqa: BLE001 - the fence: nothing but an exit code leaves the program
        return _end(error)
    return returned if isinstance(returned, int) else 0


def _end(error: BaseException) -> int:
    match error:
        case SystemExit(code=int(code)):
            return code
        case click.exceptions.Exit(exit_code=code):
            return code
        case KeyboardInterrupt() | click.Abort():
            return STOPPED
        case CouldNotRun():
            _say(str(error), error.advice)
        case click.UsageError():
            error.show()
        case click.ClickException():
            _say(error.format_message())
        case _:
            traceback.print_exception(error)
    return COULD_NOT


def _say(what: str, advice: str = "") -> None:
    sys.stderr.write(f"loadtest: {what}\n" + (f"          {advice}\n" if advice else ""))
