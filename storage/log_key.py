"""The log's private key, and what it signed last: two files in a folder of their own, for workers alone.

| file       | holds                                                                                       |
|------------|---------------------------------------------------------------------------------------------|
| `log.key`  | a line each: the origin, the seed of Ed25519, the seed of ML-DSA-44 (32 bytes each, base64) |
| `log.last` | size and root of the last tree that was signed with it                                      |

Workers on several machines need the same `log.key`. The second file lies outside of the database on purpose: a database
that comes back from a backup does not know what clients have seen since.
"""

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.transparency.sequencing import Signed
from storage.atomic_folder import make_folder_once
from storage.keys import KEY_BYTES, KeyFileError, check_folder, read_text, write_text
from varde_contract.transparency.checkpoint import ORIGIN_BYTES, Signer, log_signers
from varde_contract.transparency.merkle import HASH_BYTES
from varde_contract.transparency.note import is_key_name

KEY: Final = "log.key"
LAST: Final = "log.last"
_SIZE_DIGITS: Final = 20
_LINE_BYTES: Final = _SIZE_DIGITS + 1 + 2 * HASH_BYTES + 1


class LogKey:
    """The folder of a log, made when it is not there."""

    def __init__(self, folder: Path, origin: str | None = None) -> None:
        """`origin` names a log that is made now; without it, it is named after its key.

        Raises KeyFileError.
        """
        try:
            make_folder_once(folder, lambda made: write_text(made / KEY, _new_key(origin)))
        except OSError as error:
            raise KeyFileError(f"the log's key cannot be made: {error}") from error
        check_folder(folder)
        self.signers = _read_signers(folder)
        # Kept open: the program leaves root later, and the folder stays root's.
        self._file = os.open(folder / LAST, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self._last = _read_last(folder / LAST, os.pread(self._file, _LINE_BYTES + 1, 0))

    def last(self) -> Signed | None:
        """Return what was signed last here, None for nothing."""
        return self._last

    def remember(self, last: Signed) -> None:
        """Remember what was signed; it is on the disk when this returns."""
        # In place, and not by renaming a draft, which needs the folder. The line has one length and fits one sector.
        os.pwrite(self._file, f"{last.size:0{_SIZE_DIGITS}} {last.root.hex()}\n".encode(), 0)
        os.fsync(self._file)
        self._last = last


def _read_last(path: Path, line: bytes) -> Signed | None:
    if not line:
        return None
    try:
        size, root = line.decode("ascii").removesuffix("\n").split(" ")
        signed = Signed(int(size), bytes.fromhex(root))
    except ValueError:
        signed = Signed(0, b"")
    if len(line) != _LINE_BYTES or len(signed.root) != HASH_BYTES:
        raise KeyFileError(f"{path} is damaged: restore it from a backup")
    return signed


def _new_key(origin: str | None) -> str:
    seeds = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)
    if origin is None:
        public = Ed25519PrivateKey.from_private_bytes(seeds[0]).public_key().public_bytes_raw()
        origin = f"log.varde.invalid/{hashlib.sha256(public).hexdigest()[:16]}"
    return "\n".join([origin, *(base64.b64encode(seed).decode() for seed in seeds)])


def _read_signers(folder: Path) -> Sequence[Signer]:
    origin, *encoded = read_text(folder, KEY).split("\n")
    try:
        seeds = [base64.b64decode(each, validate=True) for each in encoded]
    except ValueError:
        seeds = []
    if not is_key_name(origin) or len(origin.encode()) > ORIGIN_BYTES or list(map(len, seeds)) != [KEY_BYTES] * 2:
        raise KeyFileError(f"{folder / KEY} is damaged: restore it from a backup")
    return log_signers(origin, *seeds)
