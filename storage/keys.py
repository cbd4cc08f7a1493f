"""The servers' own keys: files in one folder, made once, each program reading only those it needs.

Keys of people and devices never come here. A folder that is incomplete, damaged or open to others is refused, never
repaired: a new pepper would lock everybody out, and a key that others could read is no key.

| file         | holds (32 bytes where not said, base64 text)  | read by    |
|--------------|-----------------------------------------------|------------|
| `relay.key`  | X25519 private key: the relay's Noise static  | relay      |
| `relay.pub`  | its public key                                | relay, api |
| `relay.kem`  | ML-KEM-768 seed, 64 bytes: the relay's secret for post-quantum handshakes | relay |
| `relay.kem.pub` | its public key, 1,184 bytes                | relay, api |
| `ticket.key` | Ed25519 private key that signs relay tickets  | api        |
| `ticket.pub` | its public key                                | relay, api |
| `pepper`     | HMAC key under which e-mail addresses are kept | api        |

While a key changes there are also `<file>.next` and `<file>.old` (storage/key_rotation.py).
"""

import base64
import binascii
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from storage.atomic_folder import make_folder_once
from varde_contract.kem import MLKEM_KEY_BYTES, MLKEM_SEED_BYTES, MlKemKeyPair

KEY_BYTES: Final = 32
FILE_LIMIT: Final = 4_096  # bytes; a key takes 45, the longest 1,581
NAMES: Final = ("relay.key", "relay.pub", "relay.kem", "relay.kem.pub", "ticket.key", "ticket.pub", "pepper")

HALF_WAY: Final = ": if a change of keys was interrupted, run it again (varde server keys rotate)"
STAGES: Final = (".next", ".old")
"""Behind a name: a key that is accepted and not used, because it will be, or was."""


class KeyFileError(Exception):
    """A key file or its folder cannot be used; the text names it and says why, never what it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayKeys:
    """What the relay needs: its own key pairs, and the means to check tickets. Raw bytes."""

    relay_private: bytes = field(repr=False)
    relay_public: bytes
    relay_kem_private: bytes = field(repr=False)
    relay_kem_public: bytes
    ticket_public: bytes
    other_privates: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    """X25519 key and ML-KEM-768 seed of key pairs that are accepted as well, while they change."""
    other_ticket_publics: tuple[bytes, ...] = ()

    @property
    def ticket_publics(self) -> tuple[bytes, ...]:
        """All that tickets may be signed with, the one in use first."""
        return (self.ticket_public, *self.other_ticket_publics)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeys:
    """What the API needs: to sign tickets, to look up addresses, and to tell clients the relay's keys. Raw bytes."""

    relay_public: bytes
    relay_kem_public: bytes
    ticket_private: bytes = field(repr=False)
    ticket_public: bytes
    pepper: bytes = field(repr=False)
    other_peppers: tuple[bytes, ...] = field(default=(), repr=False)
    """Addresses are looked up under these as well, while the pepper changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKeys:
    """All of them, for a program that is relay and API at once. Raw bytes."""

    relay_private: bytes = field(repr=False)
    relay_public: bytes
    relay_kem_private: bytes = field(repr=False)
    relay_kem_public: bytes
    ticket_private: bytes = field(repr=False)
    ticket_public: bytes
    pepper: bytes = field(repr=False)


def make_keys(folder: Path) -> None:
    """Make the folder with all its keys unless it is there; of several processes at once, one makes it. Reads none.

    Raises:
        KeyFileError: the folder cannot be made.
    """
    try:
        make_folder_once(folder, _fill)
    except OSError as error:
        raise KeyFileError(f"the keys cannot be made: {error}") from error


def open_keys(folder: Path) -> ServerKeys:
    """Make the keys unless they are there, and read them all.

    Raises:
        KeyFileError: naming the file, and what is wrong with it.
    """
    make_keys(folder)
    relay, api = read_relay_keys(folder), read_api_keys(folder)
    return ServerKeys(
        relay_private=relay.relay_private,
        relay_public=relay.relay_public,
        relay_kem_private=relay.relay_kem_private,
        relay_kem_public=relay.relay_kem_public,
        ticket_private=api.ticket_private,
        ticket_public=api.ticket_public,
        pepper=api.pepper,
    )


def read_relay_keys(folder: Path) -> RelayKeys:
    """Read what the relay needs; the other files may be absent.

    Raises:
        KeyFileError: naming the file, and what is wrong with it.
    """
    check_folder(folder)
    private, public = _read(folder, "relay.key"), _read(folder, "relay.pub")
    if X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw() != public:
        raise KeyFileError(f"{folder / 'relay.pub'} does not belong to relay.key beside it{HALF_WAY}")
    kem, kem_public = _read(folder, "relay.kem", MLKEM_SEED_BYTES), _read(folder, "relay.kem.pub", MLKEM_KEY_BYTES)
    if MlKemKeyPair(kem).public != kem_public:
        raise KeyFileError(f"{folder / 'relay.kem.pub'} does not belong to relay.kem beside it")
    return RelayKeys(
        relay_private=private,
        relay_public=public,
        relay_kem_private=kem,
        relay_kem_public=kem_public,
        ticket_public=_read(folder, "ticket.pub"),
        other_privates=tuple(
            (_read(folder, "relay.key" + stage), _read(folder, "relay.kem" + stage, MLKEM_SEED_BYTES))
            for stage in _stages(folder, "relay.key", "relay.kem")
        ),
        other_ticket_publics=tuple(_read(folder, "ticket.pub" + stage) for stage in _stages(folder, "ticket.pub")),
    )


def read_api_keys(folder: Path) -> ApiKeys:
    """Read what the API needs; the other files may be absent.

    Raises:
        KeyFileError: naming the file, and what is wrong with it.
    """
    check_folder(folder)
    private, public = _read(folder, "ticket.key"), _read(folder, "ticket.pub")
    if Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw() != public:
        raise KeyFileError(f"{folder / 'ticket.pub'} does not belong to ticket.key beside it{HALF_WAY}")
    return ApiKeys(
        relay_public=_read(folder, "relay.pub"),
        relay_kem_public=_read(folder, "relay.kem.pub", MLKEM_KEY_BYTES),
        ticket_private=private,
        ticket_public=public,
        pepper=_read(folder, "pepper"),
        other_peppers=tuple(_read(folder, "pepper" + stage) for stage in _stages(folder, "pepper")),
    )


def make_key_set(names: Sequence[str]) -> dict[str, str]:
    """Make fresh keys for these files. Pairs belong together when both halves are named at once."""
    relay, ticket = X25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    # Not made out of relay.key: whoever could compute that one from its public half would have this one, too.
    kem = os.urandom(MLKEM_SEED_BYTES)
    keys = (
        relay.private_bytes_raw(),
        relay.public_key().public_bytes_raw(),
        kem,
        MlKemKeyPair(kem).public,
        ticket.private_bytes_raw(),
        ticket.public_key().public_bytes_raw(),
        os.urandom(KEY_BYTES),
    )
    return {name: base64.b64encode(key).decode() for name, key in zip(NAMES, keys, strict=True) if name in names}


def _fill(folder: Path) -> None:
    for name, text in make_key_set(NAMES).items():
        write_text(folder / name, text)


def write_text(path: Path, text: str) -> None:
    """Write a file that only its owner may read, and a line feed at its end; it is on the disk when this returns."""
    # The mode with the creation: a chmod afterwards would leave a moment in which others can open the file.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode() + b"\n")
        file.flush()
        os.fsync(descriptor)


def check_folder(folder: Path) -> None:
    """Refuse a folder that is missing, or open to others. Raises KeyFileError."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        raise KeyFileError(f"{folder} is missing: the keys have not been made yet") from None
    if not stat.S_ISDIR(found.st_mode):
        raise KeyFileError(f"{folder} is not a folder")
    _refuse_open(folder, found, "0700")


def read_text(folder: Path, name: str) -> str:
    """Read a short file that nobody else may read, without the line feed at its end. Raises KeyFileError."""
    path = folder / name
    try:
        # O_NOFOLLOW: the permissions checked are those of the file read. O_NONBLOCK: a pipe must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}; restore it from a backup") from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise KeyFileError(f"{path} is not a file")
        _refuse_open(path, found, "0600")
        return file.read(FILE_LIMIT).decode(errors="replace").removesuffix("\n")


def _stages(folder: Path, *names: str) -> list[str]:
    """Return which of the next and the old ones are there; none when the key is not being changed."""
    return [stage for stage in STAGES if all((folder / (name + stage)).exists() for name in names)]


def _refuse_open(path: Path, found: os.stat_result, wanted: str) -> None:
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(found.st_mode)
        raise KeyFileError(f"{path} has mode {mode:04o}, so others may have read it: make new keys, or chmod {wanted}")
    if found.st_uid not in {0, os.geteuid()}:
        raise KeyFileError(f"{path} belongs to user {found.st_uid}, who is neither this program's user nor root")


def _read(folder: Path, name: str, size: int = KEY_BYTES) -> bytes:
    try:
        key = base64.b64decode(read_text(folder, name).strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != size:
        raise KeyFileError(
            f"{folder / name} is damaged: it should hold {size} bytes as base64; restore it from a backup"
        )
    return key
