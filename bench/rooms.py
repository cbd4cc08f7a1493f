"""Who is in which room: rooms by size, all rooms and members numbered in their order. Every member is in one room."""

from bisect import bisect_right
from itertools import accumulate
from typing import Final
from uuid import UUID

from msgspec import Struct

from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, uuid7

_EPOCH_MS: Final = 1_767_225_600_000
"""Any time will do, so long as it is the same on both sides."""
_NUMBER_BYTES: Final = 8


class Rooms(Struct, frozen=True):
    """`count` rooms of `size` members; the first one has the number `first`, its first member `first_member`."""

    count: int
    size: int
    first: int
    first_member: int

    @property
    def numbers(self) -> range:
        """The rooms."""
        return range(self.first, self.first + self.count)

    @property
    def members(self) -> range:
        """Everybody in them."""
        return range(self.first_member, self.first_member + self.count * self.size)

    def members_of(self, room: int) -> range:
        """Return who is in one of them."""
        start = self.first_member + (room - self.first) * self.size
        return range(start, start + self.size)

    def room_of(self, member: int) -> int:
        """Return where one of the members is."""
        return self.first + (member - self.first_member) // self.size


class Plan:
    """All rooms of one server. Written as `50x2,10x10`: fifty rooms of two, then ten rooms of ten."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for a text that is no plan."""
        self.text = text
        pairs = [(int(count), int(size)) for count, size in (part.split("x") for part in text.split(","))]
        firsts = accumulate((count for count, _ in pairs), initial=0)
        members = accumulate((count * size for count, size in pairs), initial=0)
        self.blocks = tuple(
            Rooms(count, size, first, member)
            for (count, size), first, member in zip(pairs, firsts, members, strict=False)
        )
        self._by_room = [block.first for block in self.blocks]
        self._by_member = [block.first_member for block in self.blocks]

    @property
    def members(self) -> int:
        """How many there are."""
        return self.blocks[-1].members.stop

    def of_size(self, size: int) -> Rooms:
        """Return the rooms of a size. Raises KeyError."""
        for block in self.blocks:
            if block.size == size:
                return block
        raise KeyError(size)

    def members_of(self, room: int) -> range:
        """Return who is in a room; nobody where there is no such room."""
        block = self.blocks[bisect_right(self._by_room, room) - 1]
        return block.members_of(room) if room in block.numbers else range(0)

    def room_of(self, member: int) -> int:
        """Return where a member is."""
        return self.blocks[bisect_right(self._by_member, member) - 1].room_of(member)


def device_of(member: int) -> DeviceId:
    """Return the one device of a member."""
    return DeviceId(_id("D", member))


def account_of(member: int) -> AccountId:
    """Return whose it is."""
    return AccountId(_id("A", member))


def profile_of(member: int) -> ProfileId:
    """Return what the member is in its room as."""
    return ProfileId(_id("P", member))


def conversation_of(room: int) -> ConversationId:
    """Return the room's conversation."""
    return ConversationId(_id("C", room))


def number_of(thing: UUID) -> int:
    """Return the number that such an id was made from."""
    return int.from_bytes(thing.bytes[-_NUMBER_BYTES + 1 :], "big")


def _id(kind: str, number: int) -> UUID:
    return uuid7(_EPOCH_MS, b"\0" + kind.encode() + number.to_bytes(_NUMBER_BYTES, "big"))
