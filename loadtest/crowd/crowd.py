"""The people of a run: their devices with keys and tickets, their conversations, and the file that holds them all.

The file is written 0600.
"""

import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId
from varde_contract.secret_struct import SecretStruct

_MODE: Final = 0o600


class CrowdError(Exception):
    """The file of a crowd cannot be used; the text names it and says what to do."""


class Seat(SecretStruct, frozen=True, array_like=True):
    """One device, as its user has to know it. Its number is its place in `Crowd.seats`."""

    account: AccountId
    profile: ProfileId
    device: DeviceId
    noise_private: bytes
    """X25519, 32 bytes."""
    ticket: str
    access_token: str
    """For the API; empty when the crowd was made without sessions."""
    rooms: tuple[int, ...]
    """Conversations it is in, as places in `Crowd.rooms`."""


class Room(Struct, frozen=True, array_like=True):
    """One conversation. `members` are seats. A pair's messages carry a ciphertext per device, a group's one for all."""

    conversation: ConversationId
    members: tuple[int, ...]
    roster_version: int
    group: bool


class Crowd(SecretStruct, frozen=True, array_like=True):
    """Everybody, and where they go. Rooms are dealt so that members of one sit side by side in `seats`."""

    relay_url: str
    """`ws://` or `wss://`, with the path."""
    api_url: str
    relay_key: bytes
    """The relay's Noise static key, 32 bytes."""
    payload_key: bytes
    """ChaCha20-Poly1305, 32 bytes: what generators seal payloads with, instead of Olm and Megolm."""
    tickets_expire_ms: int
    seats: tuple[Seat, ...]
    rooms: tuple[Room, ...]
    authority: str = ""
    """PEM: whom to trust for `wss`, and nobody else; empty for those whom the system trusts."""


def write_crowd(path: Path, crowd: Crowd) -> None:
    """Write the file anew, readable by its owner alone."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.msgpack.encode(crowd))


def read_crowd(path: Path) -> Crowd:
    """Read the file. Raises CrowdError when it is not there or holds something else."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Crowd)
    except OSError as error:
        raise CrowdError(f"{path} cannot be read ({error.strerror}): make it with `python -m loadtest seed`") from error
    except msgspec.MsgspecError:
        raise CrowdError(f"{path} is not the file of a crowd: make it with `python -m loadtest seed`") from None
