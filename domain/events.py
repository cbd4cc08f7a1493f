"""The union of all events on the bus. Losing one may cost time, never a message."""

from typing import Final, TypeAlias

from domain.people.events import DeviceConnected, DevicesChanged, KeysLow, ProfileChanged, TicketsRevoked
from domain.talk.events import (
    DeliveredMoved,
    Invited,
    MembershipChanged,
    MessagesCommitted,
    PresenceMoved,
    ReadMoved,
    TypingMoved,
)
from varde_contract.ids import ConversationId

Event: TypeAlias = (
    MessagesCommitted
    | MembershipChanged
    | Invited
    | DevicesChanged
    | ProfileChanged
    | TicketsRevoked
    | DeviceConnected
    | KeysLow
    | DeliveredMoved
    | ReadMoved
    | TypingMoved
    | PresenceMoved
)


_IN_CONVERSATION: Final = (MessagesCommitted, DeliveredMoved, ReadMoved, TypingMoved)


def topic_of(event: Event) -> ConversationId | None:
    """Return the conversation whose listeners an event is for, None when every node has to hear it.

    Changes of members and devices are for every node: their roster may be cached where nobody listens, and who was
    just added is connected where nobody listens yet.
    """
    return event.conversation if isinstance(event, _IN_CONVERSATION) else None
