"""Lines above the prompt: what comes in is printed without disturbing what is being typed.

No message is understood here, and none is sent.
"""

import shutil
from typing import TextIO

import click

from varde_cli.chatting.keyboard import PROMPT, Keyboard
from varde_cli.showing import plain

_UP_AND_CLEAR = "\x1b[{rows}A\r\x1b[J"
_CLEAR = "\r\x1b[J"


class Screen:
    """Where a chat is shown. With a pipe instead of a terminal there is neither colour nor a prompt to keep."""

    def __init__(self, out: TextIO, keyboard: Keyboard, *, live: bool, colour: bool) -> None:
        self._out = out
        self._keyboard = keyboard
        self._live = live
        self._colour = colour

    @property
    def live(self) -> bool:
        """Whether a person looks at it."""
        return self._live

    def line(self, text: str, *, dim: bool = False, bold: bool = False, fg: str | None = None) -> None:
        """Print one line, or several, above the prompt. What a stranger wrote cannot command the terminal."""
        self.write(self.style(plain(text), dim=dim, bold=bold, fg=fg))

    def style(self, text: str, *, dim: bool = False, bold: bool = False, fg: str | None = None) -> str:
        """Colour a part of a line, where there is colour."""
        return click.style(text, dim=dim or None, bold=bold or None, fg=fg) if self._colour else text

    def write(self, text: str) -> None:
        """Print a line whose parts are plain and styled already."""
        typed = self._keyboard.typed if self._live else None
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
