"""A person at a terminal: a `varde` command on a pseudo-terminal, typed to and read from."""

import os
import pty
import re
import select
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess

from tests.cli.forked_command import start_on_terminal

TIMEOUT = 60
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The person's side."""

    def __init__(self, process: ForkServerProcess, descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._seen = ""
        self._read_to = 0

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

    def wait_end(self) -> int:
        """Wait for the end of the command and return its exit code."""
        self.process.join(TIMEOUT)
        assert self.process.exitcode is not None, f"it runs on after: {self._seen[self._read_to :]!r}"
        return self.process.exitcode

    def _receive(self) -> str:
        return os.read(self._descriptor, 65536).decode(errors="replace")


@contextmanager
def open_terminal(environ: Mapping[str, str], *words: str) -> Iterator[Terminal]:
    """Run a command on a terminal of its own while the block runs."""
    ours, theirs = pty.openpty()
    process = start_on_terminal(words, {**environ, "TERM": "xterm", "COLUMNS": "100"}, os.ttyname(theirs))
    try:
        yield Terminal(process, ours)
    finally:
        os.close(theirs)
        process.kill()
        process.join(TIMEOUT)
        os.close(ours)
