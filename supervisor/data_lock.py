"""The lock on a data folder: one supervisor of this machine at a time."""

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from supervisor.events import LogLine, Report

FILE: Final = "up.lock"
_TIMEOUT: Final = 60.0  # seconds; longer than a reaper takes to stop everything
_POLL: Final = 0.05  # seconds; flock can wait in the kernel, but then it cannot be cancelled


class FolderInUse(Exception):
    """Another supervisor works on this folder."""


@asynccontextmanager
async def open_lock(folder: Path, report: Report) -> AsyncIterator[int]:
    """Make the folder (0700) and hold the only lock on it while the block runs; yields the descriptor that holds it.

    When the holder was killed and its reaper still stops its programs, that is waited for.

    Raises:
        FolderInUse: its supervisor is alive, or what it left behind does not end.
        OSError: the folder or the lock file cannot be made.
    """
    descriptor = _open(folder)
    try:
        await _acquire(descriptor, folder, report)
        # Empty until the number stands there: whoever reads in between finds nobody alive, waits, and looks again.
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
        os.ftruncate(descriptor, 0)  # the number may be some other process's, soon
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


async def _acquire(descriptor: int, folder: Path, report: Report) -> None:
    reported = False
    with trio.move_on_after(_TIMEOUT):
        while not _try_lock(descriptor):
            if holder := _live_holder(descriptor):
                raise FolderInUse(
                    f"{folder} is in use by another `varde up` (process {holder}): "
                    f"stop that one (kill -INT {holder}), or choose another folder with --data"
                )
            if not reported:
                report(LogLine("varde", "waiting for what a killed supervisor left behind to stop"))
                reported = True
            await trio.sleep(_POLL)
        return
    raise FolderInUse(f"something that a killed supervisor left behind still works on {folder}: end it and try again")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _live_holder(descriptor: int) -> int:
    """The process that wrote its number into the file, when it is alive, otherwise 0."""
    written = os.pread(descriptor, 32, 0).strip()
    if not written.isdigit():
        return 0
    try:
        os.kill(int(written), 0)
    except ProcessLookupError:
        return 0
    except PermissionError:
        pass  # alive, and somebody else's
    return int(written)
