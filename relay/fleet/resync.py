"""Looks up heads and roster versions of conversations with listeners here, and has what was missed read from the log.

At once where the bus says that it may have missed something, and in a slow round where nobody can say so: rosters that
a process moved and died before its event. Messages of such a process are found sooner, by `relay.fleet.journal_tail`,
which also keeps delivery going while the bus is away.
"""

from collections.abc import Sequence
from typing import Final, NoReturn

import trio

from domain.ports import StoreUnavailable
from domain.talk.model import LogHead
from relay.cache.outage import RETRY
from relay.services import Services
from varde_contract.frames import ChangeKind
from varde_contract.ids import ConversationId

ROUND: Final = 45.0
"""Seconds in which every conversation is looked up once."""
ROUND_WITHOUT_BUS: Final = 5.0
"""The same while the bus is away, for removals and revocations that it would tell of. Messages come by the tail."""
JITTER: Final = 1 / 3
"""Of the round, either way, so that nodes that started together do not query together for ever."""
CONVERSATIONS_PER_QUERY: Final = 1_000
"""A query of about three milliseconds: 25,000 conversations in a round are about a thousandth of a core."""


async def run_resync(services: Services) -> NoReturn:
    """Look everything up, round after round, for as long as the node lives; the queries are spread over the round."""
    while True:
        batches = _batches(sorted(services.hub.conversations))
        share = services.random.uniform(1 - JITTER, 1 + JITTER) / len(batches)
        for conversations in batches:
            await _wait_turn(services, share)
            await resync(services, conversations)
        if not services.bus.connected:
            services.revocations.ask()


async def _wait_turn(services: Services, share: float) -> None:
    """Wait for a share of the round, which becomes shorter when the bus goes away meanwhile."""
    begun = trio.current_time()
    while True:
        round_ = ROUND if services.bus.connected else ROUND_WITHOUT_BUS
        left = begun + round_ * share - trio.current_time()
        if left <= 0:
            return
        await trio.sleep(min(left, ROUND_WITHOUT_BUS / 2))


async def run_head_lookups(services: Services) -> NoReturn:
    """Look up what may be stale, as soon as that is known, for as long as the node lives."""
    while True:
        await services.stale_heads.wait()
        for conversations in _batches(services.stale_heads.take()):
            if not await resync(services, conversations):
                # It stays stale until the store answers: the bus and the database usually go together.
                services.stale_heads.note(frozenset(conversations))
                await trio.sleep(RETRY)


async def resync(services: Services, conversations: Sequence[ConversationId]) -> bool:
    """Have the listeners of these conversations read what they have not seen. Whether the store answered."""
    if not conversations:
        return True
    try:
        log_heads = await services.conversations.log_heads(conversations)
    except StoreUnavailable:
        services.outage.failed()
        return False
    services.outage.answered()
    for conversation, log_head in log_heads.items():
        _compare(services, conversation, log_head)
    return True


def _compare(services: Services, conversation: ConversationId, log_head: LogHead) -> None:
    # This may be a head that this node is about to publish itself: read from the log then, at twice the cost, rarely.
    services.hub.note_head(conversation, log_head.head)
    version = services.rosters.version_nowait(conversation)
    if version is not None and version < log_head.roster_version:
        services.rosters.forget(conversation)
        # Nobody knows whether members or devices changed; members outweigh devices.
        services.roster_changes.note(conversation, ChangeKind.MEMBERSHIP)


def _batches(conversations: Sequence[ConversationId]) -> list[Sequence[ConversationId]]:
    """Cut into queries. Without conversations there is one empty query, so that a round always takes its time."""
    starts = range(0, max(len(conversations), 1), CONVERSATIONS_PER_QUERY)
    return [conversations[start : start + CONVERSATIONS_PER_QUERY] for start in starts]
