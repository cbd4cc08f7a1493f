"""What an application iterates over: stored events, each exactly once, and transient ones while it listens.

Transient events are bounded: when an application is slow, the oldest are dropped.
"""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

import trio

from varde.errors import VardeError
from varde.events import Event, Message, Said, Speaker, TransientEvent, said_in
from varde.store import Store
from varde.store.log import Entry
from varde_contract.ids import ConversationId

TRANSIENT_MOST = 1_000
"""Typing and presence that wait for a slow application. Their value is their freshness, so the oldest are dropped."""

E = TypeVar("E", bound=Event)
Where: TypeAlias = Callable[[ConversationId], Speaker]


class EventStream:
    """Where the client publishes events, and iterators subscribe to them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Weak: an application that breaks out of its loop unsubscribes from nothing. In order, which a set has not.
        self._iterators: WeakKeyDictionary[EventIterator[Event], None] = WeakKeyDictionary()
        self._handed_out: set[int] = set()
        self.end: VardeError | None = None
        self._ended = trio.Event()

    def publish(self, event: TransientEvent) -> None:
        """Give a transient event to every iterator over all events."""
        for iterator in tuple(self._iterators):
            iterator.put(event)

    def notify(self) -> None:
        """Wake the iterators: there may be something new in the store, or the end has come."""
        for iterator in tuple(self._iterators):
            iterator.wake()

    def close(self, error: VardeError) -> None:
        """There will be nothing more: iterators hand out what is stored, then raise this."""
        self.end = self.end or error
        self._ended.set()
        self.notify()

    async def wait_end(self) -> VardeError:
        """Return why there will be nothing more. No deadline: a client may run for years."""
        await self._ended.wait()
        assert self.end is not None
        return self.end

    def mark_all_taken(self) -> None:
        """Count everything that was handed out as taken: the application left its block without an exception."""
        # Not durable: after a power cut it is handed out once more, which applications must bear anyhow.
        with self._store.transaction(durable=False):
            for position in self._handed_out:
                self._store.log.mark_taken(position)
        self._handed_out.clear()

    def everything(self, where: "Where | None" = None) -> "EventIterator[Event]":
        """Iterate over all events. `where` opens the conversation through which what is said is answered."""
        return EventIterator(self, self._store, None, where)

    def messages(self, conversation: ConversationId, where: "Where | None" = None) -> "EventIterator[Message]":
        """Iterate over the messages of one conversation."""
        return cast("EventIterator[Message]", EventIterator(self, self._store, conversation, where))

    def subscribe(self, iterator: "EventIterator[Event]") -> list[int]:
        """Add an iterator; return the stored events that no iterator was handed before it came."""
        self._iterators[iterator] = None
        waiting = self._store.log.not_taken(iterator.conversation)
        return [position for position in waiting if position not in self._handed_out]

    def unsubscribe(self, iterator: "EventIterator[Event]") -> None:
        """The iterator is done."""
        self._iterators.pop(iterator, None)

    def mark_handed_out(self, position: int) -> None:
        """An entry goes to the application; other iterators that were there before still get it."""
        self._handed_out.add(position)

    def mark_taken(self, position: int) -> None:
        """The application came back for more: it is done with this entry, and will not see it again after a crash."""
        if position in self._handed_out:
            with self._store.transaction(durable=False):
                self._store.log.mark_taken(position)
            self._handed_out.discard(position)


class EventIterator(Generic[E]):
    """One iteration. With a conversation, only its messages; without, everything.

    An entry whose loop body was running when the process died is handed out again by the next process.
    """

    def __init__(
        self, stream: EventStream, store: Store, conversation: ConversationId | None, where: Where | None = None
    ) -> None:
        self.conversation = conversation
        self.where = where
        """Opens the conversation of an event; replaced by a client of asyncio, for which it is one of asyncio."""
        self._stream = stream
        self._store = store
        self._transient: deque[TransientEvent] = deque(maxlen=TRANSIENT_MOST)
        self._changed = trio.Event()
        self._last: int | None = None
        self._cursor = store.log.last_position()
        self._waiting = deque(stream.subscribe(cast("EventIterator[Event]", self)))

    def __aiter__(self) -> "EventIterator[E]":
        return self

    async def __anext__(self) -> E:
        await trio.lowlevel.checkpoint()
        # An event counts as taken when the next one is asked for: until then the loop body may still fail.
        self._take_last()
        while True:
            # Stored events first: what somebody types now is worth less than what they wrote.
            found = self._next_stored() or self._next_transient()
            if found is not None:
                return found
            if self._stream.end is not None:
                self.close()
                raise self._stream.end
            self._changed = trio.Event()
            await self._changed.wait()  # no deadline: nothing may happen for ever

    def close(self) -> None:
        """Stop listening."""
        self._stream.unsubscribe(cast("EventIterator[Event]", self))

    def put(self, event: TransientEvent) -> None:
        """Queue a transient event, unless this iterates over messages only."""
        if self.conversation is None:
            self._transient.append(event)
            self._changed.set()

    def wake(self) -> None:
        """Look into the store again."""
        self._changed.set()

    def _take_last(self) -> None:
        if self._last is not None:
            self._stream.mark_taken(self._last)
            self._last = None

    def _next_stored(self) -> E | None:
        while entry := self._next_entry():
            if self.conversation is None or isinstance(entry.event, Message):
                self._last = entry.position
                self._stream.mark_handed_out(entry.position)
                if self.where is not None and isinstance(entry.event, Said):
                    said_in(entry.event, self.where(entry.event.conversation))
                return cast("E", entry.event)
        return None

    def _next_entry(self) -> Entry | None:
        if self._waiting:
            return self._store.log.entry(self._waiting.popleft())
        entry = self._store.log.entry_after(self._cursor, self.conversation)
        if entry is not None:
            self._cursor = entry.position
        return entry

    def _next_transient(self) -> E | None:
        return cast("E", self._transient.popleft()) if self._transient else None
