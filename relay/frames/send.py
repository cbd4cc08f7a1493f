"""`msg:send`: judged against the roster at hand, then handed to the journal."""

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


def post(services: Services, peer: Peer, frame: Send) -> Outcome:
    """Submit a message. Refuses what `domain.talk.sending.decide` and the journal refuse."""
    roster = services.rosters.get_nowait(frame.conversation)
    judged = _decide(services, peer, frame, roster)
    if roster is None or isinstance(judged, Refused):
        # A "no" from memory is never told: the sender may have heard of a change that has not reached this node yet.
        return partial(_post_later, services, peer, frame)
    return services.journal.submit_nowait(Submission(peer, frame, judged, roster))


async def _post_later(services: Services, peer: Peer, frame: Send) -> Refused | None:
    roster = (await services.rosters.fetch([frame.conversation])).get(frame.conversation)
    judged = _decide(services, peer, frame, roster)
    if isinstance(judged, Refused):
        # The roster may have moved since the message was stored, and only the ack been lost: that is still owed.
        return None if await services.journal.ack_again(peer, frame) else judged
    assert roster is not None
    return services.journal.submit_nowait(Submission(peer, frame, judged, roster))


def _decide(services: Services, peer: Peer, frame: Send, roster: Roster | None) -> Draft | Refused:
    now_ms = services.clock()
    message = MessageId(uuid7(now_ms, services.entropy(ENTROPY_BYTES)))
    return decide(roster, peer.sender, frame, message=message, now_ms=now_ms)
