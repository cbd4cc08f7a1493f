"""When Python looks for garbage, and in what: connections that stay are frozen, so that nobody looks at them again.

A connection is about ninety objects, and a full collection visits all objects there are: over 5,000 connections it was
measured at 120 ms on a quiet machine and at 500 ms on a busy one, and nobody is served meanwhile. After `gc.freeze` it
takes 2 us. Freezing is free; what it costs is that a cycle among frozen objects is not found until they are thawed.
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
"""Seconds between two looks at how many have come and gone."""
RAMP: Final = 250
"""Connections that came since the last freeze: the next one looks through their objects only, in 2 to 4 ms."""
SLOW: Final = 0.010
"""Seconds. A pause that long says that much is alive besides connections: that is frozen as well."""
GONE_LEAST: Final = 2_000
"""Connections that must have gone before a thaw is worth its pause. If all were garbage, 32 MiB."""
FEW: Final = 5
"""Newcomers in one tick: more are a storm, such as after a network has failed, and then they come first."""
CALM: Final = 50
"""Ticks without a storm until a thaw: ten seconds, for those who have just been cut are about to come back."""
PATIENCE: Final = 3
"""How many times as many as there ever were may have gone until it is done in any weather."""


class Policy:
    """Decides by two numbers: how many connections were ever established, and how many are now."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._began = 0.0
        self._slow = False
        self._arrived = 0
        self._calm = 0
        self._most = GONE_LEAST
        self._frozen_at = 0
        self._gone_at = 0

    @contextmanager
    def rule(self) -> Iterator[None]:
        """Set Python's collector up for the length of the block, and leave it afterwards as it was."""
        thresholds = gc.get_threshold()
        gc.callbacks.append(self._watch)
        gc.set_threshold(*THRESHOLDS)
        gc.freeze()  # what was imported stays; it is not worth a second of looking through
        try:
            yield
        finally:
            gc.unfreeze()
            gc.set_threshold(*thresholds)
            gc.callbacks.remove(self._watch)

    def look(self, arrived: int, connected: int) -> None:
        """Freeze or thaw, if it is time."""
        self._calm = self._calm + 1 if arrived - self._arrived <= FEW else 0
        self._arrived, self._most = arrived, max(self._most, connected)
        gone = arrived - connected - self._gone_at
        if gone >= max(GONE_LEAST, connected) and (self._calm >= CALM or gone >= PATIENCE * self._most):
            self._gone_at, self._most = arrived - connected, max(GONE_LEAST, connected)
            self._metrics.thaws += 1
            gc.unfreeze()
            self._freeze(arrived)
        elif arrived - self._frozen_at >= RAMP or self._slow:
            self._freeze(arrived)

    def _freeze(self, arrived: int) -> None:
        self._frozen_at = arrived
        gc.collect()  # first, for garbage must not be frozen
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
    """Rule for as long as the node lives."""
    policy = Policy(services.metrics)
    with policy.rule():
        while True:
            await trio.sleep(TICK)
            policy.look(services.metrics.handshakes[HandshakeOutcome.ACCEPTED], len(services.hub))
