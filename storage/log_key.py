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
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.transparency.sequencing import Signed
from storage.atomic_folder import make_folder_once
from storage.keys import KEY_BYTES, KeyFileError, check_folder, read_text, write_text
from varde_contract.transparency.checkpoint import ORIGIN_BYTES, Signer, log_signers
from varde_contract.transparency.note import is_key_name

KEY: Final = "log.key"
LAST: Final = "log.last"


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
        self._folder = folder
        self.signers = _read_signers(folder)
        self.last()  # a damaged file is told at the start

    def last(self) -> Signed | None:
        """Return what was signed last here, None for nothing. Raises KeyFileError."""
        if not (self._folder / LAST).exists():
            return None
        text = read_text(self._folder, LAST)
        size, _, root = text.partition(" ")
        try:
            return Signed(int(size), bytes.fromhex(root))
        except ValueError:
            raise KeyFileError(f"{self._folder / LAST} is damaged: restore it from a backup") from None

    def remember(self, last: Signed) -> None:
        """Remember what was signed; it is on the disk when this returns."""
        descriptor, name = tempfile.mkstemp(dir=self._folder)  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{last.size} {last.root.hex()}\n")
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(self._folder / LAST)


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
