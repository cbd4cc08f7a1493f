"""What is only counted when somebody asks: a walk over everybody connected, and a look at the process."""

from collections.abc import Mapping
from typing import Final

import trio
from msgspec import Struct

from relay.delivery.hub import Hub
from relay.metrics.histogram import BYTES, Histogram
from relay.metrics.process import read_process

SLICE: Final = 500
"""Peers between two checkpoints: a fifth of a millisecond."""


class Survey(Struct, frozen=True):
    """How things stood. `depths` holds the bytes waiting in each outbox, `deepest` the most of them."""

    depths: Histogram
    deepest: int
    listeners: int
    process: Mapping[str, float]


async def take_survey(hub: Hub) -> Survey:
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
    return Survey(depths, deepest, listeners, read_process())
