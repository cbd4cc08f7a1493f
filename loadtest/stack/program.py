"""One program of the stack: started in a session of its own, ready when it says so, ended, and started again."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from loadtest.stack.process import ROOT, end_process, tail_of, wait_for
from loadtest.stack.watchman import Watchman

START_DEADLINE: Final = 90.0
"""Seconds. A first start takes three; on a machine under load, with its database replaying a log, far more."""


class StackError(Exception):
    """A program of the stack did not start; the text ends with the last lines of its log."""


class Program(Struct, frozen=True):
    """How to run a program, and how to know from a line of its log that it is ready."""

    name: str
    arguments: Sequence[str]
    environ: Mapping[str, str]
    is_ready: Callable[[str], bool]
    stop: signal.Signals = signal.SIGTERM
    patience: float = 5.0
    """Seconds that it has when it is to end, before it is killed."""
    tier: int = 1
    """Where several are to end, the higher ones go first."""


class Child:
    """A program as a child process, which may have been started several times."""

    def __init__(self, program: Program, log: Path, watchman: Watchman) -> None:
        self.program = program
        self._log = log
        self._watchman = watchman
        self._process: subprocess.Popen[bytes] | None = None
        self._said_from = 0
        self._asked = False

    @property
    def pid(self) -> int:
        """Of the process that was started last; 0 before."""
        return 0 if self._process is None else self._process.pid

    @property
    def died(self) -> bool:
        """Whether it has ended without being asked to."""
        return self._process is not None and not self._asked and self._process.poll() is not None

    def start(self) -> None:
        """Start it, without waiting until it is ready."""
        self._asked = False
        with self._log.open("ab") as log:
            self._said_from = log.tell()
            # A session of its own: Ctrl-C in the terminal is for whoever runs the stack.
            self._process = subprocess.Popen(  # noqa: S603 - our own programs, with our own words
                self.program.arguments,
                env=dict(self.program.environ),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._watchman.keep(self._process.pid, self.program.stop, self.program.patience, self.program.tier)

    def wait_ready(self, deadline: float = START_DEADLINE) -> str:
        """Wait until it is ready, and return the line in which it said so. Raises StackError."""
        said = ""

        def settled() -> bool:
            nonlocal said
            ended = self._process is None or self._process.poll() is not None
            said = next(filter(self.program.is_ready, self._lines()), "")
            return bool(said) or ended

        in_time = wait_for(settled, deadline)
        if not said:
            why = "ended" if in_time else f"was not ready after {deadline:g} s"
            raise StackError(f"{self.program.name} {why}:\n{tail_of(self._log, self._said_from)}")
        return said

    def stop_nowait(self) -> None:
        """Ask it to end."""
        self._asked = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.program.stop)

    def wait_ended(self, patience: float | None = None) -> None:
        """Wait for its end; when `patience` is over (its own by default), it is killed."""
        self._asked = True
        if self._process is not None:
            end_process(self._process, self.program.stop, self.program.patience if patience is None else patience)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # what it may have left behind
            self._watchman.drop(self._process.pid)

    def kill(self) -> None:
        """SIGKILL, as a crash would end it."""
        self._asked = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()  # without a deadline: nothing survives SIGKILL
            self._watchman.drop(self._process.pid)

    def _lines(self) -> list[str]:
        """What it has said since its start, in whole lines."""
        with self._log.open("rb") as log:
            log.seek(self._said_from)
            return [line.decode(errors="replace") for line in log.read().split(b"\n")[:-1]]


def announcement(name: str) -> Callable[[str], bool]:
    """Recognise the line of JSON in which one of our servers says that it is ready."""
    return lambda line: _read_announcement(line).get("ready") == name


def address_in(line: str) -> str:
    """Return the address that is said in an announcement."""
    return str(_read_announcement(line)["address"])


def _read_announcement(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
