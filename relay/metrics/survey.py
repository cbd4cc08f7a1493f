"""What is only counted when somebody asks: a walk over everybody connected, and a look at the process.

Refuses to hold the loop: the walk is taken in slices.
"""

from collections.abc import Mapping
from typing import Final

import trio
from msgspec import Struct

from relay.hub import Hub
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
    for number, peer in enumerate(hub.peers, 1):
        size = peer.outbox.size
        depths.observe(size)
        deepest = max(deepest, size)
        listeners += len(peer.listeners)
        if number % SLICE == 0:
            await trio.lowlevel.checkpoint()
    return Survey(depths, deepest, listeners, read_process())
