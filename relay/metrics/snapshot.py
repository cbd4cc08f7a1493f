"""Values that are only read at a scrape: a walk over all connections."""

from typing import Final

import trio
from msgspec import Struct

from observability.histogram import BYTES, Histogram
from relay.delivery.hub import Hub

SLICE: Final = 500
"""Peers between two checkpoints: a fifth of a millisecond."""


class Snapshot(Struct, frozen=True):
    """Values at one moment. `depths` holds the bytes waiting in each outbox, `deepest` the most in one."""

    depths: Histogram
    deepest: int
    listeners: int


async def take_snapshot(hub: Hub) -> Snapshot:
    """Look at every peer, a slice at a time."""
    depths, deepest, listeners = Histogram((0.0, *BYTES)), 0, 0
    everybody = tuple(hub.peers)
    for start in range(0, len(everybody), SLICE):
        peers = everybody[start : start + SLICE]
        listeners += sum([len(peer.listeners) for peer in peers])
        waiting = [size for peer in peers if (size := peer.outbox.size)]  # nearly nobody, nearly always
        depths.counts[0] += len(peers) - len(waiting)
        for size in waiting:
            depths.observe(size)
        deepest = max(deepest, *waiting, 0)
        await trio.lowlevel.checkpoint()
    return Snapshot(depths, deepest, listeners)
