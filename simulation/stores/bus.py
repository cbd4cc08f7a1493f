"""A bus within one process that remembers what was published."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from domain.events import Event


@dataclass(eq=False)
class _Listener:
    receive: Callable[[Event], None]
    resync: Callable[[], None]


class RecordingBus:
    """A `domain.ports.Bus`. Delivers to every listener, in the order of listening and of publishing.

    `published` is everything ever published; with `losing`, nobody hears of it.
    """

    def __init__(self) -> None:
        self.published: list[Event] = []
        self.losing = False
        self.connected = True
        self._listeners: list[_Listener] = []

    async def publish(self, events: Sequence[Event]) -> None:
        """Record the events and call every listener. A checkpoint."""
        await trio.lowlevel.checkpoint()
        self.publish_nowait(events)

    def publish_nowait(self, events: Sequence[Event]) -> None:
        """Ring as another node would: the same without a checkpoint."""
        self.published.extend(events)
        if self.losing:
            return
        for event in events:
            for listener in tuple(self._listeners):
                listener.receive(event)

    @contextmanager
    def listen(self, receive: Callable[[Event], None], resync: Callable[[], None]) -> Iterator[None]:
        """Listen until the block ends."""
        listener = _Listener(receive, resync)
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def lose_track(self) -> None:
        """Tell every listener that events may have been lost."""
        for listener in tuple(self._listeners):
            listener.resync()
