"""Publishes this node's events on the bus, in batches; of several about the same subject only the latest."""

from collections.abc import Hashable
from typing import Final, NoReturn

import trio

from domain.events import Event
from domain.ports import Bus
from domain.talk.events import MessagesCommitted
from relay.metrics.counters import Metrics

MOST_WAITING: Final = 10_000
"""Beyond that, only committed messages are queued: at most one event for each conversation."""


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
        elif len(self._waiting) >= MOST_WAITING:
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
        getattr(event, "quiet", None),
    )
