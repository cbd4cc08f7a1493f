"""Publishes this node's events on the bus, in batches; of several about the same subject only the latest.

All events of a batch are one call of the bus, which writes them at once.
"""

from collections.abc import Hashable
from typing import Final, NoReturn

import trio

from domain.events import Event
from domain.ports import Bus
from domain.talk.events import DeliveredMoved, MessagesCommitted, PresenceMoved, ReadMoved, TypingMoved
from relay.metrics.counters import Metrics

MOST_WAITING: Final = 10_000
"""Beyond that, what is droppable is dropped. The rest is bounded by itself: one event for each conversation, and one
for each device that has just connected."""
DROPPABLE: Final = (TypingMoved, PresenceMoved, DeliveredMoved, ReadMoved)
"""Each is a state, of which the next event says more than this one."""


class Publisher:
    """A queue of events by subject, and the task that publishes them."""

    def __init__(self, bus: Bus, metrics: Metrics, *, pause: float) -> None:
        """`pause` is the seconds between two publications."""
        self._bus = bus
        self._metrics = metrics
        self._pause = pause
        self._waiting: dict[Hashable, Event] = {}
        self._work = trio.lowlevel.ParkingLot()
        self._busy = False
        self.alone = False
        """Whether there is no other node: then nothing is published."""

    @property
    def idle(self) -> bool:
        """Whether everything was published."""
        return not (self._waiting or self._busy)

    @property
    def waiting(self) -> int:
        """Events that wait."""
        return len(self._waiting)

    def publish(self, event: Event) -> None:
        """Queue an event, unless there is no other node."""
        if self.alone:
            return
        subject = _subject(event)
        if isinstance(event, MessagesCommitted):
            earlier = self._waiting.get(subject)
            # A message that was sent again has its old number: it must not replace a newer one.
            if isinstance(earlier, MessagesCommitted) and earlier.head > event.head:
                return
        elif subject not in self._waiting and isinstance(event, DROPPABLE) and len(self._waiting) >= MOST_WAITING:
            self._metrics.events_dropped += 1
            return
        self._waiting[subject] = event
        if self._work:
            self._work.unpark_all()

    async def run(self) -> NoReturn:
        """Publish for as long as the node lives."""
        while True:
            while not self._waiting:
                await self._work.park()  # without a deadline: nothing may ever happen
            # Taken out before the bus is waited for: what comes meanwhile gathers for the next time.
            events, self._waiting = list(self._waiting.values()), {}
            self._busy = True
            await self._bus.publish(events)
            for event in events:
                self._metrics.events_published[type(event)] += 1
            self._busy = False
            await trio.sleep(self._pause)


def _subject(event: Event) -> Hashable:
    """Return what an event is about, without its present state."""
    if isinstance(event, MessagesCommitted):
        return event.conversation  # nearly all of them
    return (
        type(event),
        getattr(event, "conversation", None),
        getattr(event, "profile", None),
        getattr(event, "device", None),
    )
