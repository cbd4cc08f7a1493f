"""A server as a child process: started on its core, asked for nothing but its port, and killed in the end."""

import json
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from msgspec import Struct

from bench.measuring import cpu_seconds, rss_kib

ROOT: Final = Path(__file__).parents[1]
START: Final = 30.0
"""Seconds until a server listens."""
LAST_WORDS: Final = 2_000
"""Bytes of its stderr that its last line is looked for in, when it fails."""


class NoServer(Exception):
    """A server did not start; the text is the last it said itself."""


class Server(Struct, frozen=True):
    """One that listens on 127.0.0.1."""

    pid: int
    port: int

    @property
    def authority(self) -> str:
        """What stands in the Host header."""
        return f"127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """Return what it has used so far, as the kernel counts."""
        return cpu_seconds(self.pid)

    def rss_kib(self) -> int:
        """Return what it holds."""
        return rss_kib(self.pid)


@contextmanager
def open_server(command: Sequence[str], *, core: int | None, log: Path) -> Iterator[Server]:
    """Run a server while the block lasts. What it writes to stderr goes to `log`. Raises NoServer."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stderr:
        process = _start(command, core, stderr)
        try:
            yield Server(process.pid, _read_port(process, log))
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _start(command: Sequence[str], core: int | None, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    # A child inherits where its parent's thread may run: no moment on another core, and none of its threads escapes.
    own = os.sched_getaffinity(0)
    try:
        if core is not None:
            os.sched_setaffinity(0, {core})
        # A process group of its own: Ctrl-C is for the benchmark, which ends its servers itself.
        return subprocess.Popen(  # noqa: S603 - our own servers
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, process_group=0
        )
    except FileNotFoundError:
        raise NoServer(f"there is no program {command[0]}") from None
    finally:
        os.sched_setaffinity(0, own)


def _read_port(process: subprocess.Popen[bytes], log: Path) -> int:
    line = _read_line(process)
    try:
        return int(json.loads(line)["port"])
    except (ValueError, KeyError, TypeError):
        said = log.read_bytes()[-LAST_WORDS:].decode(errors="replace").strip().splitlines()
        raise NoServer(said[-1] if said else "it ended, or said nothing, before it listened") from None


def _read_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    deadline, line = time.monotonic() + START, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n") and (left := deadline - time.monotonic()) > 0:
            if selector.select(left):
                received = os.read(process.stdout.fileno(), 4096)
                if not received:
                    break
                line += received
    return line
