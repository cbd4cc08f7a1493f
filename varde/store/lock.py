"""The lock file of a home folder: one process at a time, or two would use the same ratchet step twice.

The lock dies with the process that holds it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from varde.errors import StoreInUse

LOCK_NAME = "store.lock"


@contextmanager
def hold_lock(home: Path) -> Iterator[None]:
    """Hold the folder until the block ends. Raises StoreInUse."""
    descriptor = os.open(home / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreInUse("another program uses this home folder") from None
        yield
    finally:
        os.close(descriptor)  # releases the lock; the file stays, or a third process could lock another one
