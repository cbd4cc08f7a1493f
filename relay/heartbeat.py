"""The node's heartbeat: one task that pings everybody, and cuts who went silent or out of time."""

from collections.abc import Sequence
from typing import Final, NoReturn

import trio

from relay.connection.peer import Peer
from relay.metrics.labels import Hostility
from relay.services import Services
from varde_contract.close_codes import CloseCode

ROUND: Final = 1.0
"""Seconds for one look at everybody: how late a ping or a cut may be."""
SLICE: Final = 500
"""Peers looked at in one go: a tenth of a millisecond, and a fifth for the twenty of them that are pinged."""
PINGS: Final = 25
"""Pings written before others get a turn, should more be due at once."""
SILENCES: Final = 2.5
"""Heartbeats without a sign of life until a peer is cut: two pings must have gone unanswered."""
JITTER: Final = 0.1
"""Of the heartbeat, either way: those who came together shall not be pinged together for ever."""


async def run_heartbeat(services: Services) -> NoReturn:
    """Go round for as long as the node lives."""
    while True:
        everybody = tuple(services.hub.peers)
        starts = range(0, len(everybody), SLICE) or range(1)
        for start in starts:
            await _look_at(services, everybody[start : start + SLICE])
            await trio.sleep(ROUND / len(starts))
        if services.outage.lasting:
            services.revocations.ask()  # a node that is not ready gets no work that would show it that it is again


async def _look_at(services: Services, peers: Sequence[Peer]) -> None:
    now = trio.current_time()
    silent_since = now - SILENCES * services.config.heartbeat
    due = [peer for peer in peers if now >= peer.ping_at or peer.heard_at < silent_since]
    for number, peer in enumerate(due, 1):
        if services.hub.find(peer.device) is peer:  # it may have gone since the round began
            _check(services, peer, now)
        if number % PINGS == 0:
            await trio.lowlevel.checkpoint()


def _check(services: Services, peer: Peer, now: float) -> None:
    heartbeat = services.config.heartbeat
    if now > peer.heard_at + SILENCES * heartbeat:
        services.metrics.hostile[Hostility.HALF_OPEN] += 1
        peer.connection.cut(CloseCode.HEARTBEAT_MISSED)
    elif not peer.ping_at:
        peer.ping_at = now + heartbeat * services.random.random()  # a newcomer: ten thousand of them are spread evenly
    elif services.revocations.judge(peer):
        peer.ping_at = now + heartbeat * services.random.uniform(1 - JITTER, 1 + JITTER)
        services.metrics.pings += 1
        peer.connection.ping()
