"""`join:conversation` and `sync`: how a peer starts to listen, and how it reads the log."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

import trio

from domain.ports import StoreUnavailable
from domain.talk.model import ConversationHead
from domain.talk.sending import NO_CONVERSATION
from relay.cache.outage import RETRY
from relay.connection.peer import Peer
from relay.frames.refusals import Deferred, Outcome
from relay.metrics.labels import JoinOutcome
from relay.services import Services
from varde_contract.frames import EpochHead, Join, Joined, Sync
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode, Refused

T = TypeVar("T")

_LAST: Final = 2**128 - 1
PAGE: Final = 256
"""Conversations in one page of the list."""

_BEYOND: Final = Refused(RefusalCode.OUT_OF_RANGE, "The conversation has no such number yet. Join from its head on.")
_ALL_OR_ONE: Final = Refused(RefusalCode.MALFORMED, "Joining all starts where the device had confirmed.")
_TOO_MANY: Final = Refused(RefusalCode.TOO_MANY, "This connection listens to as many conversations as it may.")
_BUSY: Final = Refused(RefusalCode.TOO_MANY, "Wait for the answers to the earlier `sync`.", retry_after_ms=1_000)


def join(services: Services, peer: Peer, frame: Join) -> Outcome:
    """Let a peer listen to one conversation, or to all. Refuses `not-found`, `out-of-range`, `malformed`, `too-many`.

    Waits for a database that is away for a short time.
    """
    if frame.conversation is not None:
        return partial(_run_join, services, peer, partial(join_one, services, peer, frame.conversation, frame.from_seq))
    if frame.from_seq is not None:
        return _ALL_OR_ONE
    peer.wants_all = True
    return partial(_run_join, services, peer, partial(join_all, services, peer))


async def _run_join(services: Services, peer: Peer, join: Deferred) -> Refused | None:
    """Run a join, and count it if it fails. The mailbox counts those that succeed, once the log is read."""
    joins = services.metrics.joins
    services.admission.newcomers.note_join(peer)
    try:
        refused = await join()
    except StoreUnavailable:
        joins[JoinOutcome.UNAVAILABLE] += 1
        raise
    finally:
        if peer.mailbox.idle:  # there is nothing to read; otherwise the mailbox says when it has been read
            services.admission.newcomers.leave(peer)
    joins[JoinOutcome.REFUSED] += refused is not None
    return refused


async def join_one(
    services: Services, peer: Peer, conversation: ConversationId, from_seq: int | None = None
) -> Refused | None:
    """Let a peer listen from a number, or from its confirmed position. Joining again moves it there."""
    joined = await _look(services, peer, conversation, from_seq)
    if isinstance(joined, Refused):
        return joined
    _listen(services, peer, joined)
    return None


async def join_new(services: Services, peer: Peer, conversation: ConversationId) -> None:
    """Let a peer that joined all listen to a conversation it was added to, unless it already does."""
    joined = await _look(services, peer, conversation, None)
    # It may be joining all at this moment, and have joined this one while we asked.
    if isinstance(joined, Joined) and conversation not in peer.listeners:
        _listen(services, peer, joined)


async def join_all(services: Services, peer: Peer) -> Refused | None:
    """Let a peer listen to every conversation its device receives for, the newest first. Refuses `too-many`."""
    before: ConversationId | None = None
    while True:
        heads = await _patiently(services, partial(_heads, services, peer, before))
        epochs = await _patiently(services, partial(services.epochs.heads, [head.conversation for head in heads]))
        refused = join_these(services, peer, heads, epochs)
        if refused is not None or len(heads) < PAGE:
            return refused
        before = heads[-1].conversation


def join_these(
    services: Services,
    peer: Peer,
    heads: Sequence[ConversationHead],
    epochs: Mapping[ConversationId, Sequence[EpochHead]],
) -> Refused | None:
    """Let a peer listen to the given conversations, if it does not already. Refuses `too-many`."""
    for head in heads:
        # To join again would move it back to what is confirmed, and send twice what is on its way.
        if head.conversation in peer.listeners:
            continue
        if len(peer.listeners) >= services.settings.joined:
            return _TOO_MANY
        _listen(services, peer, _joined(head, head.upto + 1, head.roster_version, epochs))
    return None


def sync(services: Services, peer: Peer, frame: Sync) -> Outcome:
    """Queue the answer to a `sync`. Refuses `too-many`; the answer itself may be `not-found` or `out-of-range`."""
    if peer.mailbox.answering >= services.settings.syncs:
        return _BUSY
    peer.mailbox.answer(frame)
    return None


async def _look(services: Services, peer: Peer, conversation: ConversationId, from_seq: int | None) -> Joined | Refused:
    if conversation not in peer.listeners and len(peer.listeners) >= services.settings.joined:
        return _TOO_MANY
    head = await _patiently(services, partial(_head, services, peer, conversation))
    roster = await _patiently(services, partial(services.rosters.find, conversation, peer.device))
    if head is None or roster is None:
        return NO_CONVERSATION
    start = from_seq if from_seq is not None else head.upto + 1
    if start > head.head + 1:
        return _BEYOND
    epochs = await _patiently(services, partial(services.epochs.heads, [conversation]))
    return _joined(head, start, roster.version, epochs)


def _joined(
    head: ConversationHead, start: int, version: int, epochs: Mapping[ConversationId, Sequence[EpochHead]]
) -> Joined:
    kept = tuple(epochs.get(head.conversation, ()))
    return Joined(head.conversation, start, head.head, version, head.own_seq, kept)


def _listen(services: Services, peer: Peer, joined: Joined) -> None:
    if services.hub.find(peer.device) is not peer:
        services.metrics.joins[JoinOutcome.ABANDONED] += 1
        return  # it disconnected while the store was asked
    # Listen first, then read: nothing that was read before this point is relied upon. The mailbox reads the log from
    # the cursor on, and whatever is published from now on finds a listener that is behind.
    peer.send(joined)
    peer.mailbox.listen(joined.conversation, joined.from_seq - 1, joined.head)


async def _head(services: Services, peer: Peer, conversation: ConversationId) -> ConversationHead | None:
    """Return one line of the list: the first one before the id behind."""
    before = ConversationId(UUID(int=min(conversation.int + 1, _LAST)))
    heads = await services.conversation_heads.list_for(peer.device, before, 1)
    return next((head for head in heads if head.conversation == conversation), None)


async def _heads(services: Services, peer: Peer, before: ConversationId | None) -> Sequence[ConversationHead]:
    heads = await services.conversation_heads.list_for(peer.device, before, PAGE)
    await services.rosters.remember(head.conversation for head in heads)  # for presence
    return heads


async def _patiently(services: Services, ask: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            answer = await ask()
        except StoreUnavailable:
            services.outage.failed()
            if services.outage.lasting:
                raise
            await trio.sleep(RETRY)
        else:
            services.outage.answered()
            return answer
