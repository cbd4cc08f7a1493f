"""Standard input and output as the program needs them, whatever it was started with."""

import io
import os
import sys
from contextvars import ContextVar
from typing import Final, TextIO, cast

import varde

_STANDARD: Final = 2
EXECUTION: Final[ContextVar[varde.Client | None]] = ContextVar("execution", default=None)
"""The client of the program that runs this command for another process; None in a process of its own."""

_taken: list[str] = []


def read_input() -> str:
    """Read standard input to its end. Whoever runs the command for this process is given it, too."""
    text = sys.stdin.read()  # of a command that runs for another process: what that one had read
    _taken.append(text)
    return text


def taken_input() -> str:
    """Return what was read so far."""
    return "".join(_taken)


def prepare_streams() -> None:
    """Let nothing that is printed fail for its characters, and nothing be opened in the place of a closed stream."""
    # First: with standard output closed, the store's file would get its number, and the next line printed its content.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD:
        pass
    os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (
        _prepare(stream, descriptor, mode)
        for stream, descriptor, mode in ((sys.stdin, 0, "r"), (sys.stdout, 1, "w"), (sys.stderr, 2, "w"))
    )


def _prepare(stream: TextIO | None, descriptor: int, mode: str) -> TextIO:
    opened = stream or cast("TextIO", open(descriptor, mode, closefd=False))  # noqa: SIM115 - as long as the process
    if isinstance(opened, io.TextIOWrapper):
        # What is read is sent to others: half of it replaced would be worse than an error.
        opened.reconfigure(errors="strict" if mode == "r" else "replace")
    return opened
