"""What a command raises for what its caller can understand."""

import sys
from typing import Any

import click

from loadtest.report.result import EXIT_CODES, Verdict


class CouldNotRun(click.ClickException):
    """What is wrong, and what to do about it."""

    exit_code = EXIT_CODES[Verdict.FAILED]

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.advice = advice

    def show(self, file: Any = None) -> None:
        """Say it on standard error."""
        advice = f"          {self.advice}\n" if self.advice else ""
        (file or sys.stderr).write(f"loadtest: {self.message}\n{advice}")
