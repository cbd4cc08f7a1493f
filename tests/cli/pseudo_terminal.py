"""A person at a terminal: a `varde` command, or a shell with job control, that is typed to and read from."""

import codecs
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess

import pyte

from tests.cli.forked_command import start_on_terminal

TIMEOUT = 60
_INVISIBLE = re.compile("([\u200d\ufe00-\ufe0f])")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Display(pyte.Screen):
    """As pyte's, which forgets whatever comes behind a joiner or selector: these have no width and combine nothing."""

    def draw(self, data: str) -> None:
        """See `pyte.Screen`."""
        for part in _INVISIBLE.split(data):
            if _INVISIBLE.fullmatch(part):
                line, before = self.buffer[self.cursor.y], max(0, self.cursor.x - 1)
                before -= not line[before].data  # the second cell of a wide character
                line[before] = line[before]._replace(data=line[before].data + part)
            else:
                super().draw(part)


class Terminal:
    """The person's side."""

    def __init__(self, process: ForkServerProcess | None, descriptor: int, lines: int = 24) -> None:
        self.process = process
        self._descriptor = descriptor
        self._seen = ""
        self._read_to = 0
        self.display = Display(100, lines)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stream = pyte.Stream(self.display)

    def type(self, text: str) -> None:
        """Type."""
        os.write(self._descriptor, text.encode())

    def read_until(self, text: str) -> str:
        """Read on until this text comes, and return everything since the last one that was waited for."""
        end = time.monotonic() + TIMEOUT
        while (found := self._seen.find(text, self._read_to)) < 0:
            ready, _, _ = select.select([self._descriptor], [], [], max(0, end - time.monotonic()))
            assert ready, f"'{text}' did not come after: {self._seen[self._read_to :]!r}"
            self._seen += self._receive()
        since, self._read_to = self._seen[self._read_to : found + len(text)], found + len(text)
        return _ESCAPES.sub("", since)

    def see(self, *texts: str) -> str:
        """Read on until all of these stand on the screen, and return it."""
        end = time.monotonic() + TIMEOUT
        while not all(text in (screen := "\n".join(self.display.display)) for text in texts):
            ready, _, _ = select.select([self._descriptor], [], [], max(0, end - time.monotonic()))
            assert ready, f"{texts} did not come; there is:\n{screen}"
            self._seen += self._receive()
        return screen

    def wait_end(self) -> int:
        """Wait for the end of the command, read what it has said, and return its exit code."""
        assert self.process is not None
        self.process.join(TIMEOUT)
        while select.select([self._descriptor], [], [], 0)[0]:
            self._seen += self._receive()
        assert self.process.exitcode is not None, f"it runs on after: {self._seen[self._read_to :]!r}"
        return self.process.exitcode

    def _receive(self) -> str:
        received = self._decoder.decode(os.read(self._descriptor, 65536))
        self._stream.feed(received)
        return received


@contextmanager
def open_terminal(environ: Mapping[str, str], *words: str, lines: int = 24) -> Iterator[Terminal]:
    """Run a command on a terminal of its own while the block runs."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (lines, 100))
    process = start_on_terminal(words, {**environ, "TERM": "xterm", "COLUMNS": "100"}, os.ttyname(theirs))
    try:
        yield Terminal(process, ours, lines)
    finally:
        os.close(theirs)
        process.kill()
        process.join(TIMEOUT)
        os.close(ours)


@contextmanager
def open_shell(environ: Mapping[str, str]) -> Iterator[Terminal]:
    """Start a shell while the block runs: what is started in it can be suspended. Its prompt is `shell$ `."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    command = ("setsid", "--ctty", "bash", "--norc", "--noprofile", "-i")
    given = {**environ, "TERM": "xterm", "PS1": "shell$ ", "HISTFILE": ""}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=given) as process:
        os.close(theirs)
        try:
            yield Terminal(None, ours)
        finally:
            process.kill()
            os.close(ours)
