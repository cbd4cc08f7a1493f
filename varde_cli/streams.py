"""Standard input and output as the program needs them, whatever it was started with."""

import io
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO, cast

from click import termui

import varde

_STANDARD: Final = 2


@dataclass(slots=True)
class Execution:
    """A command that this program runs for another process: the folder that one was started in, and its home.

    That process has done by itself what comes before a client is needed: it is done here again, with what was typed and
    read there, and `silent`.
    """

    client: varde.Client
    folder: Path
    home: Path
    silent: bool = True


EXECUTION: Final[ContextVar[Execution | None]] = ContextVar("execution", default=None)
"""None in a command that runs in a process of its own."""

_taken: list[str] = []


def read_input() -> str:
    """Read standard input to its end."""
    return _take(sys.stdin.read())


def read_line() -> str:
    """Read a line of standard input, with its end."""
    return _take(sys.stdin.readline())


def taken_input() -> str:
    """Return what was read and typed so far, for whoever runs the command for this process."""
    return "".join(_taken)


def forget_input() -> None:
    """Let what was typed so far be for this process alone."""
    _taken.clear()


def here(path: Path) -> Path:
    """Return where a path leads that a person has given."""
    execution = EXECUTION.get()
    return path if execution is None else execution.folder / path


def _take(text: str) -> str:
    _taken.append(text)
    return text


def record_prompts() -> None:
    """Keep what is typed at click's prompts, and answer them with it where the command runs for another process."""
    for name in ("visible_prompt_func", "hidden_prompt_func"):
        setattr(termui, name, _recording(getattr(termui, name)))


def _recording(ask: Callable[[str], str]) -> Callable[[str], str]:
    def prompt(question: str) -> str:
        if EXECUTION.get() is None:
            return _take(f"{ask(question)}\n")[:-1]
        line = sys.stdin.readline()
        if not line:
            raise EOFError  # it asks what nobody was asked there
        return line.removesuffix("\n")

    return prompt


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
