"""When Python collects garbage, and in which objects: those of connections that stay are frozen, and not visited again.

A connection is about ninety objects, and a full collection visits all objects there are: over 5,000 connections it was
measured at 120 ms on a quiet machine and at 500 ms on a busy one, and nobody is served meanwhile. After `gc.freeze` it
takes 2 us. Freezing itself is free. Its price: a cycle among frozen objects is not found until they are thawed.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Final, NoReturn

import trio

from relay.metrics.counters import Metrics
from relay.metrics.labels import HandshakeOutcome
from relay.services import Services

THRESHOLDS: Final = (10_000, 5, 10)
"""Young objects, measured at 20 ns each: 0.2 ms for the youngest, 1 ms for five times as many. Python's 700 would look
three thousand times while 10,000 connections come, and find nothing."""
TICK: Final = 0.2
"""Seconds between two looks at how many connections were opened and have ended."""
RAMP: Final = 250
"""New connections until the next freeze. It only visits their objects, in 2 to 4 ms."""
SLOW: Final = 0.010
"""Seconds. After a pause that long, much is alive besides new connections, and it is frozen as well."""
GONE_LEAST: Final = 2_000
"""Connections that must have ended before a thaw is worth its pause. If all of it were garbage: 32 MiB."""
STORM: Final = 5
"""New connections in one tick. More are a reconnect storm, and connections are worth more than memory then."""
QUIET_TICKS: Final = 50
"""Ticks without a storm until a thaw: ten seconds, because clients that were just cut are about to come back."""
THAW_IN_STORM: Final = 3
"""A thaw happens even in a storm when this many times the most connections there were have ended."""


class CollectionPolicy:
    """Decides when to freeze and thaw, by how many connections were established so far and how many are now."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._began = 0.0
        self._slow = False
        self._arrived = 0
        self._quiet = 0
        self._peak = GONE_LEAST
        self._frozen_at = 0
        self._gone_at = 0

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Configure Python's collector for the length of the block, and restore it afterwards."""
        thresholds = gc.get_threshold()
        gc.callbacks.append(self._watch)
        gc.set_threshold(*THRESHOLDS)
        gc.freeze()  # imported modules stay: they need not be visited again
        try:
            yield
        finally:
            gc.unfreeze()
            gc.set_threshold(*thresholds)
            gc.callbacks.remove(self._watch)

    def update(self, arrived: int, connected: int) -> None:
        """Freeze or thaw, if it is time for it."""
        self._quiet = self._quiet + 1 if arrived - self._arrived <= STORM else 0
        self._arrived, self._peak = arrived, max(self._peak, connected)
        gone = arrived - connected - self._gone_at
        if gone >= max(GONE_LEAST, connected) and (self._quiet >= QUIET_TICKS or gone >= THAW_IN_STORM * self._peak):
            self._gone_at, self._peak = arrived - connected, max(GONE_LEAST, connected)
            self._metrics.thaws += 1
            gc.unfreeze()
            self._freeze(arrived)
        elif arrived - self._frozen_at >= RAMP or self._slow:
            self._freeze(arrived)

    def _freeze(self, arrived: int) -> None:
        self._frozen_at = arrived
        gc.collect()  # first, because garbage must not be frozen
        gc.freeze()
        self._slow = False
        self._metrics.freezes += 1

    def _watch(self, phase: str, found: dict[str, int]) -> None:
        if phase == "start":
            self._began = perf_counter()
            return
        pause = perf_counter() - self._began
        self._metrics.pauses[found["generation"]].observe(pause)
        self._slow = self._slow or pause > SLOW


async def run_garbage_collection(services: Services) -> NoReturn:
    """Apply the policy for as long as the node lives."""
    policy = CollectionPolicy(services.metrics)
    with policy.applied():
        while True:
            await trio.sleep(TICK)
            policy.update(services.metrics.handshakes[HandshakeOutcome.ACCEPTED], len(services.hub))
