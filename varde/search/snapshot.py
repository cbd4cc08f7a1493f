"""The index on disk: one file of equal chunks, each encrypted under the store's key. docs/search.md has the format.

A chunk opens in its place, and in the snapshot it was made for, alone. The file is replaced whole.
"""

import os
import struct
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from varde.errors import StoreDamaged
from varde.store.database import telling_faults
from varde.store.search import Mark, SearchTable
from varde.store.table import NONCE_BYTES, Cell

NAME: Final = "search.sealed"
MAGIC: Final = b"varde search 1\r\n"
ID_BYTES: Final = 16
CHUNK_BYTES: Final = 65_536
"""Of plaintext. The last one is filled up, so that the size of the file tells no more than this of what is in it."""
TAG_BYTES: Final = 16
FOLDING: Final = f"1 {unicodedata.unidata_version}"
"""How words were folded. Another Unicode may fold some otherwise, and they would not be found."""
_LENGTH: Final = struct.Struct(">I")


class Header(Struct, frozen=True, array_like=True):
    """What stands in front of the image."""

    position: int
    change: int
    folding: str
    image_bytes: int

    @property
    def mark(self) -> Mark:
        """How much of the store is in it."""
        return Mark(self.position, self.change)


def seal_snapshot(
    table: SearchTable, snapshot: bytes, mark: Mark, image: bytes, *, chunk: int = CHUNK_BYTES
) -> Iterator[bytes]:
    """Yield the parts of a file. `snapshot` is the random id that its chunks are bound to."""
    header = msgspec.msgpack.encode(Header(mark.position, mark.change, FOLDING, len(image)))
    plaintext = memoryview(_LENGTH.pack(len(header)) + header + image)
    yield MAGIC + snapshot
    for number, start in enumerate(range(0, len(plaintext), chunk)):
        yield table.seal(_cell(snapshot, number), bytes(plaintext[start : start + chunk]).ljust(chunk, b"\0"))


def open_snapshot(
    table: SearchTable, file: bytes, valid: list[bytes], *, chunk: int = CHUNK_BYTES, folding: str = FOLDING
) -> tuple[Header, bytes]:
    """Return the header and the image of a file. Raises StoreDamaged for one that is not whole, or not valid."""
    snapshot, sealed = file[len(MAGIC) : len(MAGIC) + ID_BYTES], memoryview(file)[len(MAGIC) + ID_BYTES :]
    whole = NONCE_BYTES + chunk + TAG_BYTES
    if not file.startswith(MAGIC) or snapshot not in valid or not sealed or len(sealed) % whole:
        raise _damaged()
    plaintext = b"".join(
        table.open(_cell(snapshot, number), bytes(sealed[start : start + whole]))
        for number, start in enumerate(range(0, len(sealed), whole))
    )
    (length,) = _LENGTH.unpack_from(plaintext)
    start = _LENGTH.size + length
    try:
        header = msgspec.msgpack.decode(plaintext[_LENGTH.size : start], type=Header)
    except msgspec.MsgspecError:
        raise _damaged() from None
    # Chunks that are missing at the end are missed here; in the middle, the next one does not open in their place.
    if header.folding != folding or not 0 <= len(plaintext) - start - header.image_bytes < chunk:
        raise _damaged()
    return header, plaintext[start : start + header.image_bytes]


def read_snapshot(table: SearchTable, path: Path, valid: list[bytes]) -> tuple[Header, bytes] | None:
    """Return the header and the image in a file, None for none that can be used. Blocks: run it in a thread."""
    try:
        return open_snapshot(table, path.read_bytes(), valid)
    except (OSError, StoreDamaged):
        return None


def write_snapshot(table: SearchTable, path: Path, snapshot: bytes, mark: Mark, image: bytes) -> None:
    """Write the file, whole or not at all. Raises StoreFailed, OSError. Blocks: run it in a thread."""
    draft = path.with_name(f"{path.name}.new")
    try:
        with telling_faults, os.fdopen(_open_own(draft), "wb") as file:
            for part in seal_snapshot(table, snapshot, mark, image):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _open_own(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _cell(snapshot: bytes, number: int) -> Cell:
    return Cell("search", "chunk", snapshot, number)


def _damaged() -> StoreDamaged:
    return StoreDamaged("the snapshot of the search cannot be used")
