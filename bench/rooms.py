"""Who is in which room, and the ids that server and load make of the same numbers.

All rooms and members are numbered in their order; every member is in one room.
"""

from bisect import bisect_right
from itertools import accumulate
from typing import Final
from uuid import UUID

from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, uuid7

_EPOCH_MS: Final = 1_767_225_600_000  # any time will do, so long as it is the same on both sides
_NUMBER_BYTES: Final = 8


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
