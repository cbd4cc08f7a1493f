"""The terminal of a chat: lines typed or piped in, and lines printed above the prompt."""

import os
import shutil
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol, TextIO

import click
import trio

from varde_cli.output import printable

PROMPT: Final = "> "
_CHUNK_BYTES: Final = 64 * 1024


class LineInput(Protocol):
    """Where lines come from."""

    @property
    def typed(self) -> str | None:
        """What stands behind the prompt now; None while no prompt is shown."""

    def read_line(self) -> str:
        """Block for the next line, without its end. Raises EOFError when there will be none."""


class PipeInput:
    """Lines that another program writes.

    Read from the descriptor, not from `sys.stdin`: a thread that is left behind in there holds a lock that the
    interpreter wants when it ends.
    """

    typed: str | None = None

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._pending = b""

    def read_line(self) -> str:
        """See `LineInput`."""
        while b"\n" not in self._pending:
            chunk = os.read(self._descriptor, _CHUNK_BYTES)
            if not chunk:
                last, self._pending = self._pending, b""
                if not last:
                    raise EOFError
                return last.decode(errors="replace")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace").removesuffix("\r")


class TerminalInput:
    """Lines that a person types: readline edits them, the arrow keys bring earlier ones back."""

    def __init__(self) -> None:
        # Only here: loading it changes how every other prompt of the process behaves.
        import readline  # noqa: PLC0415

        self._readline = readline
        self._reading = False
        readline.set_auto_history(True)

    @property
    def typed(self) -> str | None:
        """See `LineInput`."""
        return self._readline.get_line_buffer() if self._reading else None

    def read_line(self) -> str:
        """See `LineInput`."""
        self._reading = True
        try:
            return input(PROMPT)
        finally:
            self._reading = False


@contextmanager
def open_input() -> Iterator[LineInput]:
    """A keyboard for standard input; the terminal is left as it was, also when a thread still reads from it."""
    if not sys.stdin.isatty():
        yield PipeInput()
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        yield TerminalInput()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@asynccontextmanager
async def open_lines(line_input: LineInput) -> AsyncIterator[trio.MemoryReceiveChannel[str]]:
    """Lines as they come, read in a thread; the channel ends with the input."""
    # Without a buffer: the next prompt comes only when the line before it was taken, and what it caused is shown above.
    sending, receiving = trio.open_memory_channel[str](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read, line_input, sending)
        yield receiving
        nursery.cancel_scope.cancel()


async def _read(line_input: LineInput, sending: trio.MemorySendChannel[str]) -> None:
    async with sending:
        while True:
            try:
                # Nothing can interrupt a thread that waits for a key: it is left behind, and dies with the process.
                line = await trio.to_thread.run_sync(line_input.read_line, abandon_on_cancel=True)
            except EOFError:
                return
            await sending.send(line)


_UP_AND_CLEAR = "\x1b[{rows}A\r\x1b[J"
_CLEAR = "\r\x1b[J"


class Screen:
    """Where a chat is shown. With a pipe instead of a terminal there is neither colour nor a prompt to keep."""

    def __init__(self, out: TextIO, line_input: LineInput, *, live: bool, colour: bool) -> None:
        self._out = out
        self._line_input = line_input
        self._live = live
        self._colour = colour

    @property
    def live(self) -> bool:
        """Whether a person looks at it."""
        return self._live

    def line(self, text: str, *, dim: bool = False, bold: bool = False, fg: str | None = None) -> None:
        """Print one line, or several, above the prompt. What a stranger wrote cannot command the terminal."""
        self.write(self.style(printable(text), dim=dim, bold=bold, fg=fg))

    def style(self, text: str, *, dim: bool = False, bold: bool = False, fg: str | None = None) -> str:
        """Colour a part of a line, where there is colour."""
        return click.style(text, dim=dim or None, bold=bold or None, fg=fg) if self._colour else text

    def write(self, text: str) -> None:
        """Print a line whose parts are plain and styled already."""
        typed = self._line_input.typed if self._live else None
        if typed is None:
            self._out.write(f"{text}\n")
        else:
            # Prompt and half a line give way, and stand again below.
            self._out.write(f"{_up(typed, -1)}{text}\n{PROMPT}{typed}")
        self._out.flush()

    def forget_typed(self, line: str) -> None:
        """Take away the line that was just entered: it comes again as a message, or not at all."""
        if self._live:
            self._out.write(_up(line, 0))
            self._out.flush()


def _up(typed: str, further: int) -> str:
    columns = max(1, shutil.get_terminal_size().columns)
    rows = (len(PROMPT) + len(typed)) // columns + 1 + further
    return _UP_AND_CLEAR.format(rows=rows) if rows > 0 else _CLEAR
