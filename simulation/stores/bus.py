"""A bus within one process that remembers what was published."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import trio

from domain.events import Event, topic_of
from domain.ports import Resync
from varde_contract.ids import ConversationId


class _Listener:
    def __init__(self, receive: Callable[[Event], None], resync: Resync) -> None:
        self.receive = receive
        self.resync = resync
        self.conversations: set[ConversationId] = set()

    def subscribe(self, conversation: ConversationId) -> None:
        self.conversations.add(conversation)

    def unsubscribe(self, conversation: ConversationId) -> None:
        self.conversations.discard(conversation)


class RecordingBus:
    """A `domain.ports.Bus`. Delivers to every listener that wants to hear, in the order of listening and of publishing.

    `published` is everything ever published; with `losing`, nobody hears of it. A test may set `connected`.
    """

    def __init__(self) -> None:
        self.published: list[Event] = []
        self.losing = False
        self.connected = True
        self.down_seconds = 0.0
        self._listeners: list[_Listener] = []

    async def publish(self, events: Sequence[Event]) -> None:
        """Record the events and call the listeners. A checkpoint."""
        await trio.lowlevel.checkpoint()
        self.publish_nowait(events)

    def publish_nowait(self, events: Sequence[Event]) -> None:
        """Publish as another node would: the same without a checkpoint."""
        self.published.extend(events)
        if self.losing:
            return
        for event in events:
            topic = topic_of(event)
            for listener in tuple(self._listeners):
                if topic is None or topic in listener.conversations:
                    listener.receive(event)

    @contextmanager
    def listen(self, receive: Callable[[Event], None], resync: Resync) -> Iterator[_Listener]:
        """Listen until the block ends."""
        listener = _Listener(receive, resync)
        self._listeners.append(listener)
        try:
            yield listener
        finally:
            self._listeners.remove(listener)

    def lose_track(self) -> None:
        """Tell every listener that events may have been lost."""
        for listener in tuple(self._listeners):
            listener.resync(None)
