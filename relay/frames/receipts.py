"""`receipt:delivered` and `receipt:read`: checked, then queued to be stored."""

from collections.abc import Callable
from functools import partial
from typing import Final

from domain.talk.model import Confirmation, Roster
from domain.talk.receipts import ReadMark
from domain.talk.sending import NO_CONVERSATION
from relay.connection.peer import Peer
from relay.frames.refusals import Outcome
from relay.services import Services
from varde_contract.frames import Delivered, Read
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode, Refused

_NOT_JOINED: Final = Refused(RefusalCode.NOT_JOINED, "Join the conversation first.")
_BEYOND: Final = Refused(RefusalCode.OUT_OF_RANGE, "The conversation has no such number yet.")
NOT_AS_THAT: Final = Refused(RefusalCode.PROFILE_NOT_ALLOWED, "This device does not hold that profile here.")


def delivered(services: Services, peer: Peer, frame: Delivered) -> Outcome:
    """Confirm what a device has received. Refuses `not-found`, `not-joined`, `out-of-range` and `unavailable`."""
    listener = peer.listeners.get(frame.conversation)
    if listener is None:
        return partial(refuse_outsider, services, peer, frame.conversation)
    if frame.upto > listener.head:
        return _BEYOND
    return services.receipts.confirm_nowait(Confirmation(frame.conversation, peer.device, frame.upto))


def read(services: Services, peer: Peer, frame: Read) -> Outcome:
    """Mark what a profile has read. Refuses what `delivered` does, and `profile-not-allowed`."""
    listener = peer.listeners.get(frame.conversation)
    if listener is None:
        return partial(refuse_outsider, services, peer, frame.conversation)
    if frame.upto > listener.head:
        return _BEYOND
    return with_roster(services, peer, frame.conversation, partial(_mark, services, peer, frame))


def _mark(services: Services, peer: Peer, frame: Read, roster: Roster) -> Refused | None:
    if frame.profile not in roster.devices[peer.device]:
        return NOT_AS_THAT
    return services.receipts.mark_nowait(ReadMark(frame.conversation, frame.profile, frame.upto))


async def refuse_outsider(services: Services, peer: Peer, conversation: ConversationId) -> Refused:
    """Return why a peer that does not listen is refused: `not-joined`, or `not-found` if it is no member."""
    belongs = await services.rosters.find(conversation, peer.device) is not None
    return _NOT_JOINED if belongs else NO_CONVERSATION


def with_roster(
    services: Services, peer: Peer, conversation: ConversationId, do: Callable[[Roster], Refused | None]
) -> Outcome:
    """Run `do` with the roster, at once if it is cached. Refuses `not-found` if the peer's device is not in it."""
    roster = services.rosters.get_nowait(conversation)
    if roster is not None and peer.device in roster.devices:
        return do(roster)
    # A cached roster without the device may be an old one: nobody is refused before the store was asked.
    return partial(_with_roster_later, services, peer, conversation, do)


async def _with_roster_later(
    services: Services, peer: Peer, conversation: ConversationId, do: Callable[[Roster], Refused | None]
) -> Refused | None:
    roster = await services.rosters.find(conversation, peer.device)
    return NO_CONVERSATION if roster is None else do(roster)
