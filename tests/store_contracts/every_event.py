"""One event of every kind."""

from domain.events import Event
from domain.people import events as people_events
from domain.talk import events as talk_events
from tests.ids import id_of
from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.talk import PresenceState

CONVERSATION, PROFILE, DEVICE = ConversationId(id_of(1)), ProfileId(id_of(2)), DeviceId(id_of(3))
EVERY_EVENT: tuple[Event, ...] = (
    talk_events.MessagesCommitted("node", CONVERSATION, 2**63 - 1),
    talk_events.MembershipChanged(CONVERSATION, 2),
    talk_events.Invited(DEVICE),
    people_events.DevicesChanged(CONVERSATION, 3),
    people_events.ProfileChanged(PROFILE),
    people_events.TicketsRevoked(DEVICE, 1_767_225_600_000, final=True),
    people_events.DeviceConnected("node", DEVICE, 2**53),
    people_events.KeysLow(DEVICE, 4),
    talk_events.DeliveredMoved("node", CONVERSATION, PROFILE, 5),
    talk_events.ReadMoved("node", CONVERSATION, PROFILE, 6),
    talk_events.TypingMoved("node", CONVERSATION, PROFILE, active=True),
    talk_events.PresenceMoved("node", PROFILE, PresenceState.AWAY),
)
