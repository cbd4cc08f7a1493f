"""How the store is unlocked: a passphrase (Argon2id) or a key file wraps the one random key of the store."""

import enum
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from nacl.pwhash import argon2id

from varde.errors import WrongKey
from varde.store.table import KEY_BYTES


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """What one guess costs: Argon2id passes, and memory in bytes (RFC 9106)."""

    passes: int = argon2id.OPSLIMIT_MODERATE
    memory: int = argon2id.MEMLIMIT_MODERATE


class SlotKind(enum.StrEnum):
    """What opens a store."""

    PASSPHRASE = "passphrase"  # noqa: S105 - a word, not a secret
    KEY_FILE = "key-file"


@dataclass(frozen=True, slots=True)
class Passphrase:
    """Unlock with something a person knows. Deriving the key takes about a second and 256 MiB."""

    text: str = field(repr=False)
    cost: Argon2Cost = Argon2Cost()

    kind = SlotKind.PASSPHRASE

    def wrapping_key(self, salt: bytes, cost: Argon2Cost) -> bytes:
        """Return the 32 bytes the store's key is wrapped with. Blocks: run it in a thread."""
        return argon2id.kdf(KEY_BYTES, self.text.encode(), salt, opslimit=cost.passes, memlimit=cost.memory)

    def prepare(self) -> None:
        """Refuse an empty passphrase before a store is made with it."""
        if not self.text:
            raise WrongKey("an empty passphrase protects nothing")


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Unlock with 32 random bytes in a file that only its owner may read. Made with a new store when it is absent."""

    path: Path

    kind = SlotKind.KEY_FILE
    cost = Argon2Cost(0, 0)

    def __init__(self, path: Path | str) -> None:
        object.__setattr__(self, "path", Path(path).expanduser())

    def wrapping_key(self, salt: bytes, cost: Argon2Cost) -> bytes:  # noqa: ARG002 - a random key needs neither
        """Return the key in the file. Raises WrongKey when there is none, or others may read it."""
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                key = file.read(KEY_BYTES + 1)
        except OSError:
            raise WrongKey("the key file cannot be read") from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise WrongKey("the key file can be read by others", advice="chmod 600 it")
        if len(key) != KEY_BYTES:
            raise WrongKey("the key file does not hold a key")
        return key

    def prepare(self) -> None:
        """Make the file unless it is there, whole or not at all."""
        if self.path.exists():
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        half = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        with os.fdopen(os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link and no rename, which would replace the key that somebody else has just made and wrapped a store
            # with.
            os.link(half, self.path)
        except FileExistsError:
            pass  # somebody made it at the same time: theirs is as good
        finally:
            half.unlink()
        _sync_folder(self.path.parent)


Unlock: TypeAlias = Passphrase | KeyFile


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
