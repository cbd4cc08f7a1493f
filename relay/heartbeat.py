"""The heartbeat: one task pings every peer, and cuts those that are silent or whose ticket has expired."""

from collections.abc import Sequence
from typing import Final, NoReturn

import trio

from relay.connection.peer import Peer
from relay.metrics.labels import Hostility
from relay.services import Services
from varde_contract.close_codes import CloseCode

ROUND: Final = 1.0
"""Seconds in which every peer is looked at once: how late a ping or a cut may be."""
SLICE: Final = 500
"""Peers looked at in one go: a tenth of a millisecond, and a fifth for the twenty of them that are pinged."""
PINGS: Final = 25
"""Pings written between two checkpoints, if more are due at once."""
SILENCES: Final = 2.5
"""Heartbeats without a byte from a peer until it is cut: by then two pings were not answered."""
JITTER: Final = 0.1
"""Of the heartbeat, either way, so that peers that connected together are not pinged together for ever."""


async def run_heartbeat(services: Services) -> NoReturn:
    """Look at every peer once a round, for as long as the node lives."""
    while True:
        everybody = tuple(services.hub.peers)
        starts = range(0, len(everybody), SLICE) or range(1)
        for start in starts:
            await _look_at(services, everybody[start : start + SLICE])
            await trio.sleep(ROUND / len(starts))
        if services.outage.lasting:
            # A node that is not ready gets no work, so no other query would show that the outage is over.
            services.revocations.ask()


async def _look_at(services: Services, peers: Sequence[Peer]) -> None:
    now = trio.current_time()
    silent_since = now - SILENCES * services.settings.heartbeat
    due = [peer for peer in peers if now >= peer.ping_at or peer.heard_at < silent_since]
    for number, peer in enumerate(due, 1):
        if services.hub.find(peer.device) is peer:  # it may have disconnected since the round began
            _check(services, peer, now)
        if number % PINGS == 0:
            await trio.lowlevel.checkpoint()


def _check(services: Services, peer: Peer, now: float) -> None:
    heartbeat = services.settings.heartbeat
    if now > peer.heard_at + SILENCES * heartbeat:
        services.metrics.hostile[Hostility.HALF_OPEN] += 1
        peer.connection.cut(CloseCode.HEARTBEAT_MISSED)
    elif not peer.ping_at:
        peer.ping_at = now + heartbeat * services.random.random()  # a new peer: ten thousand at once are spread evenly
    elif services.revocations.judge(peer):
        peer.ping_at = now + heartbeat * services.random.uniform(1 - JITTER, 1 + JITTER)
        services.metrics.pings += 1
        peer.connection.ping()
