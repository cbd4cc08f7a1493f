"""The doorbell of a simulated fleet: it loses, delays, reorders and repeats events, and is sometimes gone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

import trio

from domain.events import Event
from simulation.database import Process
from simulation.network import Network

QUICK: Final = 0.01
"""Seconds, at most, of an event while nothing is wrong. Then those of one publication stay together."""


@dataclass(eq=False)
class Listening:
    """Who listens."""

    process: Process
    receive: Callable[[Event], None]
    resync: Callable[[], None]


class SimulatedBus:
    """What all processes hang on. `lose` and `repeat` are shares of events, `delay` is the most seconds of one."""

    def __init__(self, network: Network, random: Random) -> None:
        self.lose = 0.0
        self.repeat = 0.0
        self.delay = QUICK
        self.away = False
        self._network = network
        self._random = random
        self._listening: dict[Listening, None] = {}

    def open(self, process: Process) -> "ProcessBus":
        """Return the bus of one process."""
        return ProcessBus(self, process)

    def publish(self, process: Process, events: Sequence[Event]) -> None:
        """Send events on their way."""
        if self.away or process.dead:
            return
        for listening in self._listening:
            kept = [each for each in events if self._random.random() >= self.lose]
            if self.delay <= QUICK:
                self._send(listening, kept)
                continue
            for event in kept:  # each has a delay of its own, so they overtake each other
                for _ in range(1 + (self._random.random() < self.repeat)):
                    self._send(listening, [event])

    def come_back(self) -> None:
        """The bus is there again, and says that something may have been lost."""
        self.away = False
        for listening in tuple(self._listening):
            listening.resync()

    def _send(self, listening: Listening, events: Sequence[Event]) -> None:
        def deliver() -> None:
            for event in events:
                if listening in self._listening and not self.away and not listening.process.dead:
                    listening.receive(event)

        self._network.call_at(trio.current_time() + self._random.uniform(0.001, self.delay), deliver)

    @contextmanager
    def listen(self, listening: Listening) -> Iterator[None]:
        """Listen until the block ends."""
        self._listening[listening] = None
        try:
            yield
        finally:
            self._listening.pop(listening, None)


class ProcessBus:
    """A `domain.ports.Bus`."""

    def __init__(self, bus: SimulatedBus, process: Process) -> None:
        self._bus = bus
        self._process = process

    @property
    def connected(self) -> bool:
        """As promised."""
        return not self._bus.away

    async def publish(self, events: Sequence[Event]) -> None:
        """As promised: it may lose, and raises nothing."""
        await trio.lowlevel.checkpoint()
        self._bus.publish(self._process, events)

    @contextmanager
    def listen(self, receive: Callable[[Event], None], resync: Callable[[], None]) -> Iterator[None]:
        """As promised."""
        with self._bus.listen(Listening(self._process, receive, resync)):
            yield
