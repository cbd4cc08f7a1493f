"""Who is in which room, the ids that server and load make of the same numbers, and the members' keys and tickets.

All rooms and members are numbered in their order; every member is in one room. The keys of a run are in two files; they
are a benchmark's, and of no use to anybody.
"""

import os
import time
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from typing import Final, TypeAlias, TypeVar
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, decode_text_id, uuid7
from varde_contract.noise import KeyPair

_EPOCH_MS: Final = 1_767_225_600_000  # any time will do, so long as it is the same on both sides
_NUMBER_BYTES: Final = 8
_NODE: Final = "node.msgpack"
_MEMBERS: Final = "members.msgpack"

NodeKeys: TypeAlias = tuple[bytes, bytes]  # the server's private key, and the public one of tickets
MemberKeys: TypeAlias = tuple[bytes, str]  # a member's private key and its ticket
Members: TypeAlias = tuple[bytes, list[MemberKeys]]  # the server's public key, and all members
T = TypeVar("T", bound=UUID)


class Plan:
    """All rooms of one server. Written as `50x2,10x10`: fifty rooms of two, then ten rooms of ten."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for a text that is no plan."""
        self.text = text
        blocks = [(int(count), int(size)) for count, size in (part.split("x") for part in text.split(","))]
        self._first = list(accumulate((size for count, size in blocks for _ in range(count)), initial=0))
        """The first member of each room, and how many there are in all."""
        ends = accumulate((count * size for count, size in blocks), initial=0)
        self.blocks = {size: range(end, end + count * size) for (count, size), end in zip(blocks, ends, strict=False)}
        """The members of all rooms of a size."""

    @property
    def members(self) -> int:
        """How many there are."""
        return self._first[-1]

    def members_of(self, room: int) -> range:
        """Return who is in a room; nobody where there is no such room."""
        return range(*self._first[room : room + 2]) if room + 1 < len(self._first) else range(0)

    def room_of(self, member: int) -> int:
        """Return where a member is."""
        return bisect_right(self._first, member) - 1


def _ids(kind: str, make: Callable[[UUID], T]) -> Callable[[int], T]:
    return lambda number: make(uuid7(_EPOCH_MS, b"\0" + kind.encode() + number.to_bytes(_NUMBER_BYTES, "big")))


account_of: Final = _ids("A", AccountId)
device_of: Final = _ids("D", DeviceId)
profile_of: Final = _ids("P", ProfileId)
conversation_of: Final = _ids("C", ConversationId)


def number_of(thing: UUID) -> int:
    """Return the number that such an id was made from."""
    return int.from_bytes(thing.bytes[-_NUMBER_BYTES + 1 :], "big")


def read_node(folder: Path) -> NodeKeys:
    """Read the server's file."""
    keys: NodeKeys = msgspec.msgpack.decode((folder / _NODE).read_bytes(), type=NodeKeys, dec_hook=decode_text_id)
    return keys


def make_members(folder: Path, wanted: int) -> Members:
    """Return the keys and tickets of at least so many members; they are made once for a run."""
    path = folder / _MEMBERS
    if not path.exists() or len(_read_members(path)[1]) < wanted:
        # In a process of its own: neither the server's memory nor the load's time shall pay for it.
        maker = get_context("spawn").Process(target=_make, args=(folder, wanted))
        maker.start()
        maker.join()
    return _read_members(path)


def _read_members(path: Path) -> Members:
    members: Members = msgspec.msgpack.decode(path.read_bytes(), type=Members, dec_hook=decode_text_id)
    return members


def forget_keys(folder: Path) -> None:
    """Delete the files of an earlier run: tickets last for a day."""
    for name in (_NODE, _MEMBERS):
        (folder / name).unlink(missing_ok=True)


def _make(folder: Path, members: int) -> None:
    # Only this process needs the domain; who reads the files imports no server code.
    from domain.people.model import Device  # noqa: PLC0415
    from domain.people.tickets import TicketIssuer  # noqa: PLC0415

    node, ticket_key = KeyPair.generate(), Ed25519PrivateKey.generate()
    issuer, now_ms = TicketIssuer(ticket_key.private_bytes_raw(), entropy=os.urandom), time.time_ns() // 1_000_000

    def member(number: int) -> MemberKeys:
        noise, profiles = KeyPair.generate(), (profile_of(number),)
        device = Device(account_of(number), device_of(number), noise.public, b"", b"", profiles, None, now_ms)
        return noise.private_bytes(), issuer.issue(device, read_ms=now_ms).text

    node_keys = node.private_bytes(), ticket_key.public_key().public_bytes_raw()
    (folder / _NODE).write_bytes(msgspec.msgpack.encode(node_keys))
    (folder / _MEMBERS).write_bytes(msgspec.msgpack.encode((node.public, list(map(member, range(members))))))
