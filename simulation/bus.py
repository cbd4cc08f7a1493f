"""The doorbell of a simulated fleet: it loses, delays, reorders and repeats events, and is sometimes gone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final

import trio

from domain.events import Event, topic_of
from domain.ports import Resync
from simulation.database import Process
from simulation.determinism import call_at
from varde_contract.ids import ConversationId

QUICK: Final = 0.01
"""Seconds, at most, of an event while nothing is wrong. Then those of one publication stay together."""


@dataclass(eq=False)
class Listening:
    """Who listens. What it `wants` to hear is `heard` a moment later, when the server has taken it in."""

    process: Process
    receive: Callable[[Event], None]
    resync: Resync
    wanted: set[ConversationId] = field(default_factory=set)
    heard: set[ConversationId] = field(default_factory=set)


class SimulatedBus:
    """What all processes hang on. `lose` and `repeat` are shares of events, `delay` is the most seconds of one."""

    def __init__(self, random: Random) -> None:
        self.lose = 0.0
        self.repeat = 0.0
        self.delay = QUICK
        self.away = False
        self.down_seconds = 0.0
        self._away_since = 0.0
        self._random = random
        # A dict and no set, for the same order in each process.
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

    def go_away(self) -> None:
        """Nothing is heard until `come_back`."""
        self.away, self._away_since = True, trio.current_time()

    def come_back(self) -> None:
        """The bus is there again, and says that something may have been lost."""
        if self.away:
            self.away = False
            self.down_seconds += trio.current_time() - self._away_since
        for listening in tuple(self._listening):
            # As a wire does it: it subscribes to everything again before it says what may be lost.
            listening.heard = set(listening.wanted)
            listening.resync(None)

    def subscribe(self, listening: Listening, conversation: ConversationId) -> None:
        """Hear a conversation in a moment, and say then that something may have been missed until now."""
        listening.wanted.add(conversation)

        def take_in() -> None:
            if listening in self._listening and conversation in listening.wanted and not self.away:
                listening.heard.add(conversation)
                listening.resync(frozenset({conversation}))

        call_at(trio.current_time() + self._random.uniform(0.001, self.delay), take_in)

    def _send(self, listening: Listening, events: Sequence[Event]) -> None:
        def deliver() -> None:
            for event in events:
                if listening not in self._listening or self.away or listening.process.dead:
                    return
                topic = topic_of(event)
                if topic is None or topic in listening.heard:
                    listening.receive(event)

        call_at(trio.current_time() + self._random.uniform(0.001, self.delay), deliver)

    @contextmanager
    def listen(self, listening: Listening) -> Iterator["ProcessListener"]:
        """Listen until the block ends."""
        self._listening[listening] = None
        try:
            yield ProcessListener(self, listening)
        finally:
            self._listening.pop(listening, None)


class ProcessListener:
    """A `domain.ports.BusListener`."""

    def __init__(self, bus: SimulatedBus, listening: Listening) -> None:
        self._bus = bus
        self._listening = listening

    def subscribe(self, conversation: ConversationId) -> None:
        """As promised."""
        self._bus.subscribe(self._listening, conversation)

    def unsubscribe(self, conversation: ConversationId) -> None:
        """As promised."""
        self._listening.wanted.discard(conversation)
        self._listening.heard.discard(conversation)


class ProcessBus:
    """A `domain.ports.Bus`."""

    def __init__(self, bus: SimulatedBus, process: Process) -> None:
        self._bus = bus
        self._process = process

    @property
    def connected(self) -> bool:
        """As promised."""
        return not self._bus.away

    @property
    def down_seconds(self) -> float:
        """As promised."""
        return self._bus.down_seconds

    async def publish(self, events: Sequence[Event]) -> None:
        """As promised: it may lose, and raises nothing."""
        await trio.lowlevel.checkpoint()
        self._bus.publish(self._process, events)

    @contextmanager
    def listen(self, receive: Callable[[Event], None], resync: Resync) -> Iterator[ProcessListener]:
        """As promised."""
        with self._bus.listen(Listening(self._process, receive, resync)) as listener:
            yield listener
