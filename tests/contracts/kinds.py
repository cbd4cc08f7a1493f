"""One event of every kind. Refuses to leave one out: the bus's suite counts them."""

from uuid import UUID

from contract.frames import PresenceState
from contract.ids import ConversationId, DeviceId, ProfileId
from domain import events as e
from domain.events import Event

CONVERSATION, PROFILE, DEVICE = ConversationId(UUID(int=1)), ProfileId(UUID(int=2)), DeviceId(UUID(int=3))
EVERY_KIND: tuple[Event, ...] = (
    e.MessagesCommitted("node", CONVERSATION, 2**63 - 1),
    e.MembershipChanged(CONVERSATION, 2),
    e.DevicesChanged(CONVERSATION, 3),
    e.ProfileChanged(PROFILE),
    e.TicketsRevoked(DEVICE, 1_767_225_600_000, final=True),
    e.KeysLow(DEVICE, 4),
    e.DeliveredMoved("node", CONVERSATION, PROFILE, 5),
    e.ReadMoved("node", CONVERSATION, PROFILE, 6),
    e.TypingMoved("node", CONVERSATION, PROFILE, active=True),
    e.PresenceMoved("node", PROFILE, PresenceState.AWAY),
    e.NodeHere("node", quiet=True),
)
