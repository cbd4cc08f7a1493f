"""Processes and ports of this machine: whether one runs, who listens, the end of a log, and a polite end.

It works in a process that gevent has patched: every wait is a short `time.sleep` in a loop.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
HOST: Final = "127.0.0.1"
GLANCE: Final = 0.02
"""Seconds between two looks at something that tells nobody when it changes."""
STOP_DEADLINE: Final = 20.0
CHILDREN_DEADLINE: Final = 5.0
"""For what a server started, from when it has ended itself."""
_PROC: Final = Path("/proc")
_TAIL: Final = 10


def wait_for(happened: Callable[[], bool], deadline: float) -> bool:
    """Wait until something has happened, for so many seconds at the most. Return whether it has."""
    end = time.monotonic() + deadline
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(GLANCE)
    return True


def runs(pid: int) -> bool:
    """Whether there is such a process, other than one that only waits for somebody to read how it ended."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def processes_in(folder: Path) -> list[int]:
    """Return the processes that work in this very folder, as all of one Postgres do."""
    place = str(folder.resolve())
    return [pid for pid in map(int, filter(str.isdigit, os.listdir(_PROC))) if _folder_of(pid) == place]  # noqa: PTH208 - names only


def _folder_of(pid: int) -> str:
    with suppress(OSError):  # it ended meanwhile, or is somebody else's
        return str((_PROC / str(pid) / "cwd").readlink())
    return ""


def end_process(
    process: subprocess.Popen[bytes], stop: signal.Signals = signal.SIGTERM, deadline: float = STOP_DEADLINE
) -> None:
    """End a process, politely first, and wait for its end."""
    if process.poll() is None:
        process.send_signal(stop)
    try:
        process.wait(deadline)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()  # without a deadline: nothing survives SIGKILL


def end_leftovers(pids: Iterable[int], deadline: float = CHILDREN_DEADLINE) -> None:
    """Give processes time to notice that who started them is gone, then kill them."""
    left = list(pids)
    wait_for(lambda: not any(map(runs, left)), deadline)
    for pid in filter(runs, left):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """Return a port of the loopback that nobody listens on at the moment."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def reserve_port(*options: int) -> socket.socket:
    """Bind a free port of the loopback without listening there: the kernel gives it to nobody else.

    A program that sets the same `options` (SO_REUSEADDR, SO_REUSEPORT) may listen on it for as long as this is open.
    """
    held = socket.socket()
    try:
        for option in options:
            held.setsockopt(socket.SOL_SOCKET, option, 1)
        held.bind((HOST, 0))
    except BaseException:
        held.close()
        raise
    return held


def listens(address: tuple[str, int]) -> bool:
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection(address, timeout=1) as sock:
            # A free port may also be the one that the kernel gives the caller: then it would have called itself.
            return bool(sock.getsockname() != sock.getpeername())
    except OSError:
        return False


def tail_of(log: Path, start: int = 0) -> str:
    """Return the last lines of a log, none from before the byte `start`."""
    if not log.exists():
        return ""
    return "\n".join(log.read_bytes()[start:].decode(errors="replace").splitlines()[-_TAIL:])
