"""`receipt:delivered` and `receipt:read`: whether a peer may say so, and then into the batch.

Refuses positions beyond the log, and receipts for what the peer does not listen to.
"""

from typing import Final

from contract.frames import Delivered, Read
from contract.ids import ConversationId
from contract.refusals import RefusalCode, Refused
from domain.nouns import Confirmation
from domain.receipts import ReadMark
from domain.sending import NO_CONVERSATION
from relay.hub import Listener
from relay.peer import Peer
from relay.services import Services

_NOT_JOINED: Final = Refused(RefusalCode.NOT_JOINED, "Join the conversation first.")
_BEYOND: Final = Refused(RefusalCode.OUT_OF_RANGE, "The conversation has no such number yet.")
NOT_AS_THAT: Final = Refused(RefusalCode.PROFILE_NOT_ALLOWED, "This device does not hold that profile here.")


async def delivered(services: Services, peer: Peer, frame: Delivered) -> Refused | None:
    """Take in what a device holds. Refuses `not-found`, `not-joined`, `out-of-range` and `unavailable`."""
    listener = await find_listener(services, peer, frame.conversation)
    if isinstance(listener, Refused):
        return listener
    if frame.upto > listener.head:
        return _BEYOND
    return services.receipts.confirm_nowait(Confirmation(frame.conversation, peer.device, frame.upto))


async def read(services: Services, peer: Peer, frame: Read) -> Refused | None:
    """Take in what a profile has read. Refuses what `delivered` does, and `profile-not-allowed`."""
    listener = await find_listener(services, peer, frame.conversation)
    if isinstance(listener, Refused):
        return listener
    if frame.upto > listener.head:
        return _BEYOND
    roster = await services.rosters.find(frame.conversation, peer.device)
    if roster is None:
        return NO_CONVERSATION
    if frame.profile not in roster.devices[peer.device]:
        return NOT_AS_THAT
    return services.receipts.mark_nowait(ReadMark(frame.conversation, frame.profile, frame.upto))


async def find_listener(services: Services, peer: Peer, conversation: ConversationId) -> Listener | Refused:
    """Return the peer's listener. Refuses `not-joined`; to who does not belong there, `not-found` as for nothing."""
    listener = peer.listeners.get(conversation)
    if listener is not None:
        return listener
    belongs = await services.rosters.find(conversation, peer.device) is not None
    return _NOT_JOINED if belongs else NO_CONVERSATION
