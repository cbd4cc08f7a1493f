"""Workers of the generator on this machine, as child processes.

They live in sessions of their own, so that Ctrl-C in a terminal reaches the leader alone, and end when it is gone: each
holds the other end of a pipe.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import gevent

from loadtest.command.exits import CouldNotRun
from loadtest.running.options import Options

_ROOT: Final = Path(__file__).parents[2]
_COMMAND: Final = (sys.executable, "-m", "loadtest", "worker", "--tethered")
_FAREWELL: Final = 5.0
WORKERS_DEADLINE: Final = 60.0
_GLANCE: Final = 0.1
_LOG_LINES: Final = 5


class LocalWorkers:
    """Child processes, in the order in which they were started."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs: list[Path] = []

    @property
    def pids(self) -> dict[str, int]:
        """Each worker's process."""
        return {f"worker-{number}": process.pid for number, process in enumerate(self._processes, 1)}

    def lost(self) -> int:
        """Count those that have ended."""
        return sum(process.poll() is not None for process in self._processes)

    def last_words(self) -> str:
        """What those that have ended said last."""
        ended = [log for log, process in zip(self._logs, self._processes, strict=True) if process.poll() is not None]
        return "\n".join(line for log in ended for line in _tail(log))

    def start(self, master: tuple[str, int], crowd: Path, folder: Path) -> None:
        """Start one more; what it says goes into `folder`."""
        log = folder / f"worker-{len(self._processes) + 1}.log"
        with log.open("wb") as said:
            process = subprocess.Popen(  # noqa: S603 - our own program
                (*_COMMAND, f"--master={master[0]}:{master[1]}", f"--crowd={crowd}"),
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self._processes.append(process)
        self._logs.append(log)

    def stop(self) -> None:
        """End those that have not ended."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._processes:
            try:
                process.wait(_FAREWELL)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()  # without a deadline: nothing survives SIGKILL


@contextmanager
def open_workers(count: int, master: tuple[str, int], crowd: Path, folder: Path) -> Iterator[LocalWorkers]:
    """Run so many workers for as long as a block lasts."""
    workers = LocalWorkers()
    try:
        for _ in range(count):
            workers.start(master, crowd, folder)
        yield workers
    finally:
        workers.stop()


def wait_for_workers(runner: Any, workers: LocalWorkers, options: Options) -> None:
    """Wait until as many as were asked for have come to a Locust master; remote ones come when they come.

    Raises CouldNotRun.
    """
    end = None if options.remote else time.monotonic() + WORKERS_DEADLINE
    while len(runner.clients.ready) < options.workers:
        if workers.lost():
            raise CouldNotRun(f"a worker ended before the run began:\n{workers.last_words()}")
        if end is not None and time.monotonic() > end:
            raise CouldNotRun(f"{options.workers} workers did not come within {WORKERS_DEADLINE:g} s")
        gevent.sleep(_GLANCE)


def _tail(log: Path) -> Sequence[str]:
    return log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
