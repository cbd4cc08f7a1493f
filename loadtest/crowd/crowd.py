"""The people of a run: devices with keys and tickets, conversations, and the file, 0600, that holds them all."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import msgspec
from msgspec import Struct

from loadtest.exits import CouldNotRun
from loadtest.scenarios.plan import PAIRS, Sizes
from loadtest.stack.process import ROOT
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, decode_text_id
from varde_contract.secret_struct import SecretStruct

_MODE: Final = 0o600
HOST: Final = "load.example"  # reserved (RFC 2606): no mail can ever arrive there
FAILED: Final = 3
"""How the seeding program ends when a person can mend what is wrong, as it says. A traceback ends with 1."""


class Seat(SecretStruct, frozen=True, array_like=True):
    """One device, as its user has to know it. Its number is its place in `Crowd.seats`."""

    account: AccountId
    profile: ProfileId
    device: DeviceId
    noise_private: bytes  # X25519, 32 bytes
    ticket: str
    access_token: str  # for the API; empty when the crowd was made without sessions
    rooms: tuple[int, ...]  # conversations it is in, as places in `Crowd.rooms`


class Room(Struct, frozen=True, array_like=True):
    """One conversation. `members` are seats. A pair's messages carry a ciphertext per device, a group's one for all."""

    conversation: ConversationId
    members: tuple[int, ...]
    roster_version: int
    group: bool


class Crowd(SecretStruct, frozen=True, array_like=True):
    """Everybody, and where they go. Rooms are dealt so that members of one sit side by side in `seats`."""

    relay_url: str  # `ws://` or `wss://`, with the path
    api_url: str
    relay_key: bytes  # the relay's Noise static key, 32 bytes
    payload_key: bytes  # ChaCha20-Poly1305, 32 bytes: what generators seal payloads with, instead of Olm and Megolm
    tickets_expire_ms: int
    seats: tuple[Seat, ...]
    rooms: tuple[Room, ...]
    authority: str = ""  # PEM: whom to trust for `wss`, and nobody else; empty for those whom the system trusts


def write_crowd(path: Path, crowd: Crowd) -> None:
    """Write the file anew, readable by its owner alone."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.msgpack.encode(crowd))


def read_crowd(path: Path) -> Crowd:
    """Read the file. Raises CouldNotRun when it is not there or holds something else."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Crowd, dec_hook=decode_text_id)
    except OSError as error:
        raise CouldNotRun(
            f"{path} cannot be read ({error.strerror}): make it with `python -m loadtest seed`"
        ) from error
    except msgspec.MsgspecError:
        raise CouldNotRun(f"{path} is not the file of a crowd: make it with `python -m loadtest seed`") from None


def deal_rooms(sizes: Sizes, seats: int, seed: int) -> list[range]:
    """Return the seats of rooms side by side, one more than asked so that nobody is alone; raises ValueError."""
    random = Random(seed)  # noqa: S311 - sizes of rooms, no secrets
    values, weights = zip(*sizes.weighted, strict=True)
    if min(values) < 2:  # noqa: PLR2004 - a room is where two can talk
        raise ValueError("a room has two members or more")
    rooms, start = [], 0
    while start < seats:
        (drawn,) = random.choices(values, weights)
        size = min(drawn, max(2, seats - start))
        rooms.append(range(start, start + size))
        start += size
    return rooms


def address_of(device: DeviceId) -> str:
    """Return the e-mail address that the person with this device signs in with."""
    return f"{device.hex}@{HOST}"


class Order(SecretStruct, frozen=True, kw_only=True):
    """What people are to be made. It goes over a pipe, as it may hold the password of a database: paths are text."""

    seats: int
    rooms: Sizes = PAIRS
    relay_url: str
    api_url: str = ""
    database_url: str
    keys: str  # the servers' folder of keys: tickets are signed, and addresses hidden, with what is there
    out: str
    authority: str = ""  # PEM file of whom to trust for `wss`; empty for those whom the system trusts
    seed: int = 1  # what the sizes of rooms are drawn with. Ids and keys are new each time
    prekeys: int = 5  # one-time keys for each device; the fallback key comes in addition
    into_existing: bool = False  # whether people may live in the database already


def run_seeding(order: Order, say: Callable[[str], None] = lambda _: None) -> Crowd:
    """Have a child process carry it out, `say` what it says, and return what `order.out` has. Raises CouldNotRun."""
    command = (sys.executable, "-m", "loadtest.crowd.seeding")
    done = subprocess.run(command, cwd=ROOT, input=msgspec.json.encode(order), stdout=subprocess.PIPE, check=False)  # noqa: S603 - our own program
    words = done.stdout.decode().rstrip()
    if done.returncode:
        raise CouldNotRun(
            words if done.returncode == FAILED else f"the seeding program ended with {done.returncode}; see above"
        )
    say(words)
    return read_crowd(Path(order.out))
