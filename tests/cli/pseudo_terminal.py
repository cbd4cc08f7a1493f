"""A person at a terminal: a `varde` command on a pseudo-terminal, typed to and read from."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

TIMEOUT = 60
# The first terminal that the leader of a session opens becomes its own: from there Ctrl-C is a signal.
_TAKE_TERMINAL = 'exec "$@" <"$0" >"$0" 2>&1'
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The person's side."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
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
        return self.process.wait(TIMEOUT)

    def _receive(self) -> str:
        return os.read(self._descriptor, 65536).decode(errors="replace")


@contextmanager
def open_terminal(environ: Mapping[str, str], *words: str) -> Iterator[Terminal]:
    """Run a command on a terminal of its own while the block runs."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ("/bin/sh", "-c", _TAKE_TERMINAL, os.ttyname(theirs), sys.executable, "-m", "varde_cli", *words),
        env={**environ, "TERM": "xterm", "COLUMNS": "100"},
        start_new_session=True,
    )
    try:
        yield Terminal(process, ours)
    finally:
        os.close(theirs)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(TIMEOUT)
        os.close(ours)
