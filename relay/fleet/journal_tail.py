"""The tail of the journal: what was stored a moment ago is looked up each second, whatever the bus said of it.

So are revocations. A process that dies between its commit and its event cannot say so, and a bus may lose an event
without a word. Then the tail is the doorbell. So it is while the bus is away: connections stay, and messages from other
nodes come that late.
"""

from typing import Final, NoReturn

import trio

from domain.ports import StoreUnavailable
from relay.services import Services

PERIOD: Final = 1.0
"""Seconds between two looks: a message without an event comes within two, with `UNDER_WAY_MS` and the reading."""
UNDER_WAY_MS: Final = 300
"""What is younger is left for the next look: its event is most likely on its way, and its listeners would read the log
for nothing."""
WINDOW_MS: Final = 5_000
"""How far back a look goes. A message has the time of its decision, by its node's clock; the rest of the window is for
commits that are slow and clocks that differ. What came later still is found by `relay.fleet.resync`."""
HEADS_AT_ONCE: Final = 1_000
"""Until others have their turn: half a millisecond."""


async def run_journal_tail(services: Services) -> NoReturn:
    """Read the tail again and again while there are other nodes, for as long as this one lives."""
    while True:
        await trio.sleep(PERIOD)
        # Also alone: it is the API that revokes, and it may die between its commit and its event.
        await services.revocations.look(services.clock() - WINDOW_MS)
        # Alone, every message was published here, or by the API, whose events come by the bus.
        if not (services.publisher.alone and services.bus.connected):
            await read_journal_tail(services)


async def read_journal_tail(services: Services) -> None:
    """Have the listeners read what was sent lately and has not reached them. During an outage, do nothing."""
    now_ms = services.clock()
    try:
        heads = await services.conversations.recent_heads(now_ms - WINDOW_MS, now_ms - UNDER_WAY_MS)
    except StoreUnavailable:
        # Not reported as an outage: for a second sends would be refused, and commits have connections of their own.
        return
    for place, (conversation, head) in enumerate(heads.items(), start=1):
        services.hub.note_head(conversation, head)
        if place % HEADS_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
