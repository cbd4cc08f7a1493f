"""Where the owner of a home listens."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOCKET_NAME: Final = "daemon.sock"
_PATH_BYTES: Final = 107
"""The longest path of a Unix socket, on Linux (unix(7))."""


@contextmanager
def socket_path(home: Path) -> Iterator[Path]:
    """The path of a home's socket for the block: by way of an open folder where it is too long for an address."""
    path = home / SOCKET_NAME
    if len(os.fsencode(path)) <= _PATH_BYTES:
        yield path
        return
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{folder}") / SOCKET_NAME
    finally:
        os.close(folder)
