"""The union of all events on the bus. Losing one may cost time, never a message."""

from typing import TypeAlias

from msgspec import Struct

from domain.people.events import DevicesChanged, KeysLow, ProfileChanged, TicketsRevoked
from domain.talk.events import (
    DeliveredMoved,
    Invited,
    MembershipChanged,
    MessagesCommitted,
    PresenceMoved,
    ReadMoved,
    TypingMoved,
)


class NodeHere(Struct, frozen=True, tag="node-here"):
    """A relay node is there, and tells the others what it commits.

    `quiet`: until now it did not, because it believed to be alone. Whoever hears that looks for what was committed.
    """

    node: str
    quiet: bool


Event: TypeAlias = (
    MessagesCommitted
    | MembershipChanged
    | Invited
    | DevicesChanged
    | ProfileChanged
    | TicketsRevoked
    | KeysLow
    | DeliveredMoved
    | ReadMoved
    | TypingMoved
    | PresenceMoved
    | NodeHere
)
