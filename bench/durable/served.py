"""A durable server while it runs: where it is, how to talk to it, and what the kernel is to be asked about."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct

from bench.durable.dialect import Dialect, Tally
from bench.measuring import processes_of
from loadtest.client.websocket import ServerFault
from loadtest.stack.process import GLANCE, ROOT, tail_of, wait_for
from loadtest.stack.process import HOST as HOST
from loadtest.stack.process import free_port as free_port
from loadtest.stack.process import listens as listens
from loadtest.stack.process import runs as runs

Dial: TypeAlias = Callable[[int, Tally], Dialect]
"""Make the dialect of a connection, by its number."""

START_DEADLINE: Final = 60.0
STOP_DEADLINE: Final = 20.0
CHILDREN_DEADLINE: Final = 5.0
"""For what a server started, from when it has ended itself."""


class Missing(Exception):
    """The server is not installed; the text says what to install."""


class Served(Struct, frozen=True):
    """One server that runs. `beside` are processes that are counted apart, such as a database, by name."""

    name: str
    address: tuple[str, int]
    dial: Dial
    pid: int
    beside: Mapping[str, int]
    settings: Mapping[str, str]
    """What a reader of the figures should know, such as the transport."""

    @property
    def authority(self) -> str:
        """host:port."""
        return f"{self.address[0]}:{self.address[1]}"


Open: TypeAlias = Callable[[Path, int], AbstractContextManager[Served]]
"""Run a server in a folder, for so many connections. It may be run again in the same folder."""


def find_program(name: str, package: str) -> str:
    """Return the path of a program of the system. Raises Missing."""
    # Where Debian puts servers, which is not on every user's path.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        raise Missing(f"{name} is not installed: apt-get install {package}")
    return found


@contextmanager
def run_process(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    log: Path,
    said: Path | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for as long as a block lasts. What it complains of is appended to `log`, what it says to `said`."""
    with log.open("ab") as errors, (said or log).open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 - programs of the system and our own, with our own words
            command, env=environ, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=errors
        )
    try:
        yield process
    finally:
        end_process(process, stop)


def end_process(process: subprocess.Popen[bytes], stop: signal.Signals = signal.SIGTERM) -> None:
    """End a process, politely first, and see to it that what it started has ended too."""
    started = [] if process.poll() is not None else processes_of(process.pid)[1:]
    if process.poll() is None:
        process.send_signal(stop)
    try:
        process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    wait_for(lambda: not any(map(runs, started)), CHILDREN_DEADLINE)
    for pid in filter(runs, started):
        os.kill(pid, signal.SIGKILL)


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, *, deadline: float = START_DEADLINE
) -> None:
    """Wait until a server is ready. Raises ServerFault with the end of its log when it ends, or takes too long."""
    end = time.monotonic() + deadline
    while not ready():
        if process.poll() is not None:
            raise ServerFault(f"the server ended with {process.returncode}:\n{tail_of(log)}")
        if time.monotonic() > end:
            raise ServerFault(f"the server was not ready after {deadline:g} s:\n{tail_of(log)}")
        time.sleep(GLANCE)
