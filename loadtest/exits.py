"""How a run and a command end: verdicts, their exit codes, and what a caller can understand."""

import enum
import sys
from typing import Any, Final

import click


class Verdict(enum.StrEnum):
    """What a run says. Each has its exit code."""

    MET = "met"
    MISSED = "missed"
    INVALID = "invalid"  # the generator, not the system, set the limit: nothing was learned
    FAILED = "failed"  # it could not run


EXIT_CODES: Final = {Verdict.MET: 0, Verdict.MISSED: 1, Verdict.INVALID: 2, Verdict.FAILED: 3}


class CouldNotRun(click.ClickException):
    """What is wrong, and what to do about it. Every error of the suite that a caller can understand is one."""

    exit_code = EXIT_CODES[Verdict.FAILED]

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.advice = advice

    def show(self, file: Any = None) -> None:
        """Say it on standard error."""
        advice = f"          {self.advice}\n" if self.advice else ""
        (file or sys.stderr).write(f"loadtest: {self.message}\n{advice}")
