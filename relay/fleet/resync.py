"""The slow round that finds what the bus never said: every conversation with a listener here is looked up in turn.

A node publishes what it commits, and a bus that breaks says so. But a process that dies between its commit and its
event on the bus can do neither. `relay.fleet.journal_tail` finds its messages sooner; what was stored too late for it,
and rosters that moved, are found here.
"""

from collections.abc import Sequence
from typing import Final, NoReturn

import trio

from domain.ports import StoreUnavailable
from domain.talk.model import LogHead
from relay.services import Services
from varde_contract.frames import ChangeKind
from varde_contract.ids import ConversationId

ROUND: Final = 45.0
"""Seconds in which every conversation is looked up once."""
JITTER: Final = 1 / 3
"""Of the round, either way, so that nodes that started together do not query together for ever."""
CONVERSATIONS_PER_QUERY: Final = 1_000
"""A query of about three milliseconds: 25,000 conversations in a round are about a thousandth of a core."""


async def run_resync(services: Services) -> NoReturn:
    """Look everything up, round after round, for as long as the node lives; the queries are spread over the round."""
    while True:
        batches = _batches(sorted(services.hub.conversations))
        pause = ROUND * services.random.uniform(1 - JITTER, 1 + JITTER) / len(batches)
        for conversations in batches:
            await trio.sleep(pause)
            await resync(services, conversations)


async def resync(services: Services, conversations: Sequence[ConversationId]) -> None:
    """Have the listeners of these conversations read what they have not seen. During an outage, do nothing."""
    if not conversations:
        return
    try:
        log_heads = await services.conversations.log_heads(conversations)
    except StoreUnavailable:
        services.outage.failed()
        return
    services.outage.answered()
    for conversation, log_head in log_heads.items():
        _compare(services, conversation, log_head)


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
