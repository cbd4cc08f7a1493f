"""A folder that is made once: whole or not at all, by one of the processes of this machine that want it.

This is for short work on this machine's disk. What several machines share is locked in Postgres.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def make_folder_once(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make `folder` unless it is there: `fill` an empty 0700 draft beside it, which is then renamed.

    However the process dies, even by a power cut, the folder holds everything or is not there. Blocks while another
    process makes the same folder, without a deadline: the kernel frees the lock when its holder dies.

    Raises:
        OSError: the folder, its lock or its draft cannot be made. Whatever `fill` raises passes through.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder.with_name(f".{folder.name}.lock")):
        if folder.exists():
            return
        draft = folder.with_name(f".{folder.name}.draft")
        if draft.exists():  # left by a process that was killed in the middle, or whose filling failed
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        fill(draft)
        _sync(draft)  # before the rename, or a power cut could leave the name on a folder without its files
        draft.rename(folder)
        _sync(folder.parent)


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    # O_NOFOLLOW: a link planted here must not make a privileged process create a file somewhere else.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
