"""What happens in the house, as lines on a terminal: one prefix and one colour for each program.

Nothing is decided here, and nothing is filtered but what could confuse a terminal: programs keep their own logs clean.
"""

from typing import Final, TextIO

import click

from supervisor.happenings import Down, Happening, Killed, Said, Stopping, Up

_COLOURS: Final = {
    "varde": "bright_yellow",
    "postgres": "blue",
    "migrate": "cyan",
    "relay": "magenta",
    "api": "green",
    "worker": "bright_blue",
}
_WIDTH: Final = max(map(len, _COLOURS))
_OURS: Final = "varde"


class Voice:
    """Writes lines, each at once. With `quiet`, only the supervisor's own."""

    def __init__(self, out: TextIO, *, colour: bool, quiet: bool = False) -> None:
        self._out = out
        self._colour = colour
        self._quiet = quiet
        self._deaf = False

    def tell(self, happening: Happening) -> None:
        """Say in a line what happened."""
        match happening:
            case Said(name, line):
                if name == _OURS or not self._quiet:
                    self.line(name, line)
            case Up(name, pid, address, 1, took):
                self.say(f"{name} is ready at {address} after {took:.1f} s (process {pid})")
            case Up(name, pid, address, _, took):
                self.say(f"{name} is back at {address} after {took:.1f} s (process {pid})")
            case Down(name, pid, why, delay):
                self.say(f"{name} (process {pid}) {why}; starting it again in {delay:.1f} s", colour="bright_red")
            case Stopping(name, pid):
                self.say(f"stopping {name} (process {pid})")
            case Killed(name, pid):
                self.say(f"{name} (process {pid}) was killed", colour="bright_red")

    def say(self, text: str, *, colour: str | None = None) -> None:
        """Say something of our own."""
        for line in text.splitlines() or ("",):
            self.line(_OURS, line, colour=colour)

    def line(self, name: str, text: str, *, colour: str | None = None) -> None:
        """Write one line under a name."""
        prefix, text = f"{name:<{_WIDTH}} │", _printable(text)
        if self._colour:
            prefix = click.style(prefix, fg=_COLOURS.get(name.partition("-")[0]))
            text = click.style(text, fg=colour) if colour else text
        self._write(f"{prefix} {text}".rstrip() + "\n")

    def _write(self, line: str) -> None:
        if self._deaf:
            return
        try:
            self._out.write(line)
            self._out.flush()
        except (BrokenPipeError, OSError):
            # The terminal is gone, or `varde up | head` has seen enough: the programs are to go on regardless.
            self._deaf = True


def _printable(text: str) -> str:
    """Without what a terminal would obey: a log line may repeat what a stranger sent."""
    return "".join(each if each.isprintable() or each == "\t" else "�" for each in text.rstrip("\r"))
