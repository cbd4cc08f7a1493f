"""Telling the other nodes: what happened here waits for its turn on the bus, one word per thing."""

from collections.abc import Hashable
from typing import Final, NoReturn

import trio

from domain.events import Event, NodeHere
from domain.ports import Bus
from domain.talk.events import MessagesCommitted
from relay.metrics.counters import Metrics

MOST_WAITING: Final = 10_000
"""Beyond, only messages are still announced: theirs grow with the conversations that are written in, no further."""


class Publisher:
    """The way out to the bus. Of what happened twice to the same thing, only the latest is announced."""

    def __init__(self, bus: Bus, metrics: Metrics, *, pause: float) -> None:
        """`pause` is the seconds until the next time on the bus."""
        self._bus = bus
        self._metrics = metrics
        self._pause = pause
        self._waiting: dict[Hashable, Event] = {}
        self._work = trio.lowlevel.ParkingLot()
        self._busy = False
        self.alone = False
        """Whether there is nobody to tell: then the only word that leaves is that this node is there."""

    @property
    def idle(self) -> bool:
        """Whether everything was announced."""
        return not (self._waiting or self._busy)

    @property
    def waiting(self) -> int:
        """Words that wait for their turn."""
        return len(self._waiting)

    def publish(self, event: Event) -> None:
        """Announce in its turn, unless nobody is there to hear it."""
        if self.alone and not isinstance(event, NodeHere):
            return
        thing = _thing(event)
        if isinstance(event, MessagesCommitted):
            earlier = self._waiting.get(thing)
            # A message sent again is announced with its old number: it must not hide a newer one.
            if isinstance(earlier, MessagesCommitted) and earlier.head > event.head:
                return
        elif len(self._waiting) >= MOST_WAITING:
            self._metrics.unannounced += 1
            return
        self._waiting[thing] = event
        if self._work:
            self._work.unpark_all()

    async def run(self) -> NoReturn:
        """Publish for as long as the node lives."""
        while True:
            while not self._waiting:
                await self._work.park()  # without a deadline: nothing may ever happen
            events, self._waiting = list(self._waiting.values()), {}
            self._busy = True
            await self._bus.publish(events)
            for event in events:
                self._metrics.announced[type(event)] += 1
            self._busy = False
            await trio.sleep(self._pause)


def _thing(event: Event) -> Hashable:
    """Name what an event speaks of, apart from how it stands now."""
    if isinstance(event, MessagesCommitted):
        return event.conversation  # nearly all of them
    return (
        type(event),
        getattr(event, "conversation", None),
        getattr(event, "profile", None),
        getattr(event, "device", None),
        getattr(event, "quiet", None),
    )
