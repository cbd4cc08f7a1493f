"""What happens to the supervised programs, as values. `log_output.py` shows them to a person."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class LogLine:
    """A program wrote a line."""

    name: str
    line: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A program is ready, for the `starts`-th time."""

    name: str
    pid: int
    address: str
    starts: int
    took: float


@dataclass(frozen=True, slots=True)
class Exited:
    """A program ended although nobody asked it to, and is started again in `delay` seconds."""

    name: str
    pid: int
    why: str
    delay: float


@dataclass(frozen=True, slots=True)
class Stopping:
    """A program is asked to stop."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Killed:
    """A program was killed: it did not stop in time, or was not given time."""

    name: str
    pid: int


ProcessEvent: TypeAlias = LogLine | Ready | Exited | Stopping | Killed
Report: TypeAlias = Callable[[ProcessEvent], None]


def describe_exit(code: int) -> str:
    """Say in words how a process ended; a negative code is the signal that killed it, as in `subprocess`."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
