"""Processes of this machine. Every wait is a `time.sleep` in a loop, which gevent may have patched."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, Final

import psutil

ROOT: Final = Path(__file__).parents[2]
HOST: Final = "127.0.0.1"
GLANCE: Final = 0.02  # seconds between two looks at something that tells nobody when it changes
_TAIL: Final = 10


@contextmanager
def open_program(
    command: Sequence[str], patience: float | None, *, log: Path | None = None, **how: Any
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a program while the block lasts. What it says goes to `log`; `how` is for Popen.

    With `stdin=PIPE` it is to end when its input does, however whoever started it has ended; another one gets SIGTERM.
    What is there after `patience` seconds more is killed.
    """
    with nullcontext() if log is None else log.open("wb") as output:
        # A session of its own: Ctrl-C in the terminal is for whoever runs it, and ends it in good order.
        usual: dict[str, Any] = {"stdin": DEVNULL, "stdout": output, "stderr": output, "start_new_session": True}
        process = subprocess.Popen(command, **{"cwd": ROOT, **usual, **how})  # noqa: S603 - our own words
    with process:  # closes what is left of its pipes
        try:
            yield process
        finally:
            if process.stdin is None:
                process.terminate()
            else:
                process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience)
            process.kill()


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
        return bool(psutil.Process(pid).status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})
    except psutil.NoSuchProcess:
        return False


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
