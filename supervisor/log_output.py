"""The log on a terminal: lines of all programs and of the supervisor, one prefix and one colour for each program."""

from collections import defaultdict, deque
from typing import Final, TextIO

import click

from supervisor.events import Exited, Killed, LogLine, ProcessEvent, Ready, Stopping

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
_LAST_LINES: Final = 20  # enough for the innermost frames of a traceback and what they raised


class LogOutput:
    """Writes lines, each at once. With `quiet`, only our own, and the last ones of a program that crashed."""

    def __init__(self, out: TextIO, *, colour: bool, quiet: bool = False) -> None:
        self._out = out
        self._colour = colour
        self._quiet = quiet
        self._broken = False
        self._unsaid: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_LAST_LINES))

    def report(self, event: ProcessEvent) -> None:
        """Write what is to be said about an event."""
        match event:
            case LogLine(name, line):
                if name == _OURS or not self._quiet:
                    self.line(name, line)
                else:
                    self._unsaid[name].append(line)
            case Ready(name, pid, address, 1, took):
                self.say(f"{name} is ready at {address} after {took:.1f} s (process {pid})")
            case Ready(name, pid, address, _, took):
                self.say(f"{name} is back at {address} after {took:.1f} s (process {pid})")
            case Exited(name, pid, why, delay):
                for line in self._unsaid.pop(name, ()):
                    self.line(name, line)
                self.say(f"{name} (process {pid}) {why}; starting it again in {delay:.1f} s", colour="bright_red")
            case Stopping(name, pid):
                self.say(f"stopping {name} (process {pid})")
            case Killed(name, pid):
                self.say(f"{name} (process {pid}) was killed", colour="bright_red")

    def say(self, text: str, *, colour: str | None = None) -> None:
        """Write lines of the supervisor's own."""
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
        if self._broken:
            return
        try:
            self._out.write(line)
            self._out.flush()
        except OSError:
            # The terminal is gone, or `varde up | head` has read enough. The programs must go on regardless.
            self._broken = True


def _printable(text: str) -> str:
    """Without what a terminal would obey: a log line may repeat what a stranger sent."""
    return "".join(each if each.isprintable() or each == "\t" else "�" for each in text.rstrip("\r"))
