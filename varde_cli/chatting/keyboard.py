"""Lines from standard input: typed, with editing and a history of their own, or piped.

Nothing is shown from here but what the terminal echoes.
"""

import os
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol

import trio

PROMPT: Final = "> "
_CHUNK_BYTES: Final = 64 * 1024


class Keyboard(Protocol):
    """Where lines come from."""

    @property
    def typed(self) -> str | None:
        """What stands behind the prompt now; None while no prompt is shown."""

    def read_line(self) -> str:
        """Block for the next line, without its end. Raises EOFError when there will be none."""


class Pipe:
    """Lines that another program writes.

    Read from the descriptor, not from `sys.stdin`: a thread that is left behind in there holds a lock that the
    interpreter wants when it ends.
    """

    typed: str | None = None

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._pending = b""

    def read_line(self) -> str:
        """See `Keyboard`."""
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


class Terminal:
    """Lines that a person types: readline edits them, the arrow keys bring earlier ones back."""

    def __init__(self) -> None:
        # Only here: loading it changes how every other prompt of the process behaves.
        import readline  # noqa: PLC0415

        self._readline = readline
        self._reading = False
        readline.set_auto_history(True)

    @property
    def typed(self) -> str | None:
        """See `Keyboard`."""
        return self._readline.get_line_buffer() if self._reading else None

    def read_line(self) -> str:
        """See `Keyboard`."""
        self._reading = True
        try:
            return input(PROMPT)
        finally:
            self._reading = False


@contextmanager
def open_keyboard() -> Iterator[Keyboard]:
    """A keyboard for standard input; the terminal is left as it was, also when a thread still reads from it."""
    if not sys.stdin.isatty():
        yield Pipe()
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        yield Terminal()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@asynccontextmanager
async def open_lines(keyboard: Keyboard) -> AsyncIterator[trio.MemoryReceiveChannel[str]]:
    """Lines as they come, read in a thread; the channel ends with the input."""
    sending, receiving = trio.open_memory_channel[str](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read, keyboard, sending)
        yield receiving
        nursery.cancel_scope.cancel()


async def _read(keyboard: Keyboard, sending: trio.MemorySendChannel[str]) -> None:
    async with sending:
        while True:
            try:
                # Nothing can interrupt a thread that waits for a key: it is left behind, and dies with the process.
                line = await trio.to_thread.run_sync(keyboard.read_line, abandon_on_cancel=True)
            except EOFError:
                return
            await sending.send(line)
