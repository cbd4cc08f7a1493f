"""A durable server while it runs: where it is, how to talk to it, and what the kernel is to be asked about.

Refuses services of the system: each is started by the benchmark, in a folder of its own, and stopped by its id.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct

from loadtest.bench.durable.dialect import Dialect, Tally
from loadtest.bench.framing import ServerFault
from loadtest.bench.measuring import processes_of

Dial: TypeAlias = Callable[[int, Tally], Dialect]
"""Make the dialect of a connection, by its number."""

ROOT: Final = Path(__file__).parents[3]
HOST: Final = "127.0.0.1"
START_DEADLINE: Final = 60.0
STOP_DEADLINE: Final = 20.0
CHILDREN_DEADLINE: Final = 5.0
"""For what a server started, from when it has ended itself."""
_GLANCE: Final = 0.02
_TAIL: Final = 10


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


def free_port() -> int:
    """Return a port of the loopback that nobody listens on at the moment."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


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
    end = time.monotonic() + CHILDREN_DEADLINE
    while any(map(runs, started)) and time.monotonic() < end:
        time.sleep(_GLANCE)
    for pid in filter(runs, started):
        os.kill(pid, signal.SIGKILL)


def runs(pid: int) -> bool:
    """Whether there is such a process, other than one that only waits for somebody to read how it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


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
        time.sleep(_GLANCE)


def listens(address: tuple[str, int]) -> bool:
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection(address, timeout=1) as sock:
            # A free port may also be the one that the kernel gives the caller: then it would have called itself.
            return bool(sock.getsockname() != sock.getpeername())
    except OSError:
        return False


def tail_of(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:]) if log.exists() else ""
