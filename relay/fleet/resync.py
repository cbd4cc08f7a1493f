"""The slow cure for a doorbell that nobody rang: every conversation with a listener here is looked up now and then.

Who commits rings the others, and a bus that breaks says so; but a process that dies between its commit and its doorbell
can do neither.
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
"""Of the round, either way: nodes that started together shall not ask together for ever."""
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
    """Tell the listeners of these conversations what they have not heard of. During an outage, do nothing."""
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
    # What this node itself is about to publish is read from the log instead: twice the work, once in a while.
    services.hub.note_head(conversation, log_head.head)
    version = services.rosters.version_nowait(conversation)
    if version is not None and version < log_head.roster_version:
        services.rosters.forget(conversation)
        # Whether members or devices changed is not known; the first outweighs the second.
        services.changes.note(conversation, ChangeKind.MEMBERSHIP)


def _batches(conversations: Sequence[ConversationId]) -> list[Sequence[ConversationId]]:
    """Cut into queries: one of nothing where there is nothing, so that a round always takes its time."""
    starts = range(0, max(len(conversations), 1), CONVERSATIONS_PER_QUERY)
    return [conversations[start : start + CONVERSATIONS_PER_QUERY] for start in starts]
