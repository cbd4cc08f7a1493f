"""Our side of the watchman, the program of `varde up` that ends what is left when whoever started it was killed.

What the watchman does, and the lines that it reads, are in `supervisor/watchman.py`.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from loadtest.stack.process import ROOT

_FILE: Final = ROOT / "supervisor" / "watchman.py"
_FAREWELL: Final = 10.0


class Watchman:
    """Knows which processes are to end with us."""

    def __init__(self, ears: IO[bytes]) -> None:
        self._ears = ears

    def keep(self, pid: int, stop: signal.Signals, patience: float, tier: int) -> None:
        """From now on it sees to the end of this process, in the order of tiers, the highest first."""
        self._tell(f"keep {pid} {int(stop)} {patience:g} {tier}")

    def drop(self, pid: int) -> None:
        """It has ended."""
        self._tell(f"drop {pid}")

    def _tell(self, line: str) -> None:
        with suppress(BrokenPipeError):  # somebody killed the watchman; we still end our programs ourselves
            self._ears.write(f"{line}\n".encode())


@contextmanager
def open_watchman(log: Path) -> Iterator[Watchman]:
    """Run a watchman for as long as a block lasts. It also ends what the block has left behind."""
    with log.open("ab") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own program
            (sys.executable, "-I", "-S", str(_FILE)),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    # Not a pipe of ours: gevent's `os.close` closes at some later time, and the watchman waits for the end.
    assert process.stdin is not None
    try:
        yield Watchman(process.stdin)
    finally:
        process.stdin.close()
        _wait_gone(process)


def _wait_gone(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_FAREWELL)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()  # without a deadline: nothing survives SIGKILL
