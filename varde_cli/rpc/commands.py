"""The owner runs commands for others: in a thread, with its own client, and with streams of their own.

So every command works while a chat or a daemon has the home, and does there what it does alone.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final, NamedTuple, TextIO, TypeAlias

import click
import trio
from msgspec import Struct

import varde
from varde_cli.run import Failure, run_command
from varde_cli.streams import EXECUTION, Execution

_OWN: Final = ("chat", "daemon")
"""What has a terminal, or a home, to itself."""

Write: TypeAlias = Callable[[bool, str], None]
"""Takes whether it is for standard error, and the text. Called in any thread."""


class Command(Struct, forbid_unknown_fields=True):
    """The words behind `varde`, what was read, where it was started, and which of its streams are terminals."""

    words: list[str]
    input: str = ""
    folder: str = "/"
    home: str = "/"
    terminals: tuple[bool, bool, bool] = (False, False, False)


class _Streams(NamedTuple):
    input: io.StringIO
    terminals: tuple[bool, bool, bool]
    write: Write


_streams: Final[ContextVar[_Streams | None]] = ContextVar("streams", default=None)


class _Input(io.TextIOBase):
    """Standard input: of the command that reads, or the owner's own."""

    def __init__(self, own: TextIO) -> None:
        self._own = own

    def fileno(self) -> int:
        return self._own.fileno()

    def isatty(self) -> bool:
        streams = _streams.get()
        return self._own.isatty() if streams is None else streams.terminals[0]

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> str:
        return self._present().read(size if size is not None else -1)

    def readline(self, size: int = -1) -> str:  # type: ignore[override]
        return self._present().readline(size)

    def _present(self) -> TextIO:
        streams = _streams.get()
        return self._own if streams is None else streams.input


class _Output(io.TextIOBase):
    """Standard output, or standard error: of the command that writes, or the owner's own."""

    def __init__(self, own: TextIO, *, error: bool) -> None:
        self._own = own
        self._error = error

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._own.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._own.errors

    def fileno(self) -> int:
        return self._own.fileno()

    def isatty(self) -> bool:
        streams = _streams.get()
        return self._own.isatty() if streams is None else streams.terminals[1 + self._error]

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # click asks with bytes whether it is a stream for bytes
            raise TypeError("this stream is for text")
        streams = _streams.get()
        if streams is None:
            return self._own.write(text)
        execution = EXECUTION.get()
        if execution is not None and not execution.silent:
            streams.write(self._error, text)
        return len(text)

    def flush(self) -> None:
        if _streams.get() is None:
            self._own.flush()


@contextmanager
def divided_streams() -> Iterator[None]:
    """Let commands that run for others read and write elsewhere, for the block."""
    own = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = (*(_Input(own[0]), _Output(own[1], error=False), _Output(own[2], error=True)),)
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = own


async def run_for(client: varde.Client, root: click.Group, command: Command, write: Write) -> int:
    """Run a command of this package for another process; return its exit code."""
    _streams.set(_Streams(io.StringIO(command.input), command.terminals, write))
    execution = Execution(client, Path(command.folder), Path(command.home))
    EXECUTION.set(execution)
    return await trio.to_thread.run_sync(_run, root, command.words, execution)


def _run(root: click.Group, words: Sequence[str], execution: Execution) -> int:
    def call() -> object:
        try:
            return run()
        except BaseException:
            execution.silent = False
            raise

    def run() -> object:
        # The client's own commands only: nobody starts a server here.
        if not words or words[0] not in root.commands or words[0] in _OWN:
            raise Failure(f"another program (process {os.getpid()}) has this home folder", "end it first")
        try:
            return root.main(list(words), prog_name="varde", standalone_mode=False)
        except click.Abort:
            advice = "say --yes, or end the other program first"
            raise Failure("this asks something, and another program has the home folder", advice) from None

    return run_command(call, os.environ)
