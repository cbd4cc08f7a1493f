"""`msg:send`: checked against the cached roster, then submitted to the journal."""

from functools import partial

from domain.talk.model import Draft, Roster
from domain.talk.sending import decide
from relay.connection.peer import Peer
from relay.delivery.journal import Submission
from relay.frames.refusals import Outcome
from relay.services import Services
from varde_contract.frames import Send
from varde_contract.ids import ENTROPY_BYTES, MessageId, uuid7
from varde_contract.refusals import Refused


def send(services: Services, peer: Peer, frame: Send) -> Outcome:
    """Submit a message. Refuses what `domain.talk.sending.decide` and the journal refuse."""
    # A stale roster costs a round trip and never stores a wrong message: the commit checks the roster's version.
    roster = services.rosters.get_nowait(frame.conversation)
    draft = _decide(services, peer, frame, roster)
    if roster is None or isinstance(draft, Refused):
        # Never refuse from memory: the sender may know of a change that has not reached this node yet.
        return partial(_send_deferred, services, peer, frame)
    return services.journal.submit_nowait(Submission(peer, frame, draft, roster))


async def _send_deferred(services: Services, peer: Peer, frame: Send) -> Refused | None:
    roster = (await services.rosters.fetch([frame.conversation])).get(frame.conversation)
    draft = _decide(services, peer, frame, roster)
    if isinstance(draft, Refused):
        return await services.journal.settle_refusal(peer, frame, draft)
    assert roster is not None
    return services.journal.submit_nowait(Submission(peer, frame, draft, roster))


def _decide(services: Services, peer: Peer, frame: Send, roster: Roster | None) -> Draft | Refused:
    now_ms = services.clock()
    message = MessageId(uuid7(now_ms, services.entropy(ENTROPY_BYTES)))
    return decide(roster, peer.sender, frame, message=message, now_ms=now_ms)
