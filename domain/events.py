"""The union of all events on the bus. Losing one may cost time, never a message."""

from typing import TypeAlias

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
)
