"""The node's heartbeat: one task that pings everybody, cuts who went silent or out of time, and measures the loop.

Refuses a task per peer.
"""

import logging
from typing import Final, NoReturn

import trio

from contract.closing import CloseCode
from relay.peer import Peer
from relay.services import Services

TICK: Final = 1.0
"""Seconds between two sweeps: 10,000 peers take about a millisecond."""
SILENCES: Final = 2.5
"""Heartbeats without a sign of life until a peer is cut: two pings must have gone unanswered."""
JITTER: Final = 0.1
"""Of the heartbeat, either way: those who came together shall not be pinged together for ever."""
FADING: Final = 0.5
"""How much of a lateness is still held against newcomers a tick later."""
WORTH_A_WORD: Final = 1.0
"""Seconds late that are logged."""

_log: Final = logging.getLogger("varde.relay")


async def run_pulse(services: Services) -> NoReturn:
    """Sweep once a tick, for as long as the node lives."""
    while True:
        planned = trio.current_time() + TICK
        await trio.sleep_until(planned)
        now = trio.current_time()
        _measure(services, now - planned)
        for peer in services.hub.peers:
            _check(services, peer, now)
        if services.outage.lasting:
            services.revocations.ask()  # a node that is not ready gets no work that would show it that it is again


def _measure(services: Services, lateness: float) -> None:
    admission = services.admission
    admission.lateness = max(lateness, admission.lateness * FADING)
    if lateness > WORTH_A_WORD:
        _log.warning("the loop was %.1f s late", lateness)


def _check(services: Services, peer: Peer, now: float) -> None:
    heartbeat = services.config.heartbeat
    if now > peer.heard_at + SILENCES * heartbeat:
        peer.cut(CloseCode.HEARTBEAT_MISSED)
    elif now >= peer.ping_at and services.revocations.judge(peer):
        peer.ping_at = now + heartbeat * services.dice.uniform(1 - JITTER, 1 + JITTER)
        peer.line.ping()
