"""What an application iterates over: what the store keeps, each exactly once, and what passes by.

What passes by is bounded, and the oldest goes first.
"""

from collections import deque
from typing import Generic, TypeVar, cast
from weakref import WeakSet

import trio

from varde.errors import VardeError
from varde.happenings import Happening, Message, Passing
from varde.store import Store
from varde.store.log import Entry
from varde_contract.ids import ConversationId

PASSING_MOST = 1_000

H = TypeVar("H", bound=Happening)


class Stream:
    """Where the client tells what happens, and iterators hear it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Weak: whoever breaks out of a loop says goodbye to nobody.
        self._ears: WeakSet[Happenings[Happening]] = WeakSet()
        self._handed: set[int] = set()
        self.end: VardeError | None = None

    def tell(self, passing: Passing) -> None:
        """Tell everybody who listens to everything."""
        for ear in self._ears:
            ear.hear(passing)

    def stir(self) -> None:
        """There may be something new in the store, or the end has come."""
        for ear in self._ears:
            ear.stir()

    def close(self, error: VardeError) -> None:
        """There will be nothing more: iterators hand out what is kept, then raise this."""
        self.end = self.end or error
        self.stir()

    def settle(self) -> None:
        """Count everything that was handed out as taken: the application came to its end in good order."""
        with self._store.transaction(durable=False):
            for position in self._handed:
                self._store.log.take(position)
        self._handed.clear()

    def everything(self) -> "Happenings[Happening]":
        """Iterate over everything that happens."""
        return Happenings(self, self._store, None)

    def messages(self, conversation: ConversationId) -> "Happenings[Message]":
        """Iterate over the messages of one conversation."""
        return cast("Happenings[Message]", Happenings(self, self._store, conversation))

    def attend(self, ear: "Happenings[Happening]") -> list[int]:
        """Let an iterator listen; return what nobody was handed before it came."""
        self._ears.add(ear)
        waiting = self._store.log.not_taken(ear.conversation)
        return [position for position in waiting if position not in self._handed]

    def leave(self, ear: "Happenings[Happening]") -> None:
        """The iterator is done."""
        self._ears.discard(ear)

    def hand_out(self, position: int) -> None:
        """An entry goes to an application; other iterators that were there before still get it."""
        self._handed.add(position)

    def finish(self, position: int) -> None:
        """The application came back for more: it is done with this entry, and will not see it again after a crash."""
        if position in self._handed:
            with self._store.transaction(durable=False):
                self._store.log.take(position)
            self._handed.discard(position)


class Happenings(Generic[H]):
    """One iteration. With a conversation, only its messages; without, everything.

    An entry that is being worked on when the process dies is handed out again by the next process.
    """

    def __init__(self, stream: Stream, store: Store, conversation: ConversationId | None) -> None:
        self.conversation = conversation
        self._stream = stream
        self._store = store
        self._passing: deque[Passing] = deque(maxlen=PASSING_MOST)
        self._news = trio.Event()
        self._last: int | None = None
        self._cursor = store.log.last_position()
        self._waiting = deque(stream.attend(cast("Happenings[Happening]", self)))

    def __aiter__(self) -> "Happenings[H]":
        return self

    async def __anext__(self) -> H:
        await trio.lowlevel.checkpoint()
        self._finish_last()
        while True:
            found = self._next_kept() or self._next_passing()
            if found is not None:
                return found
            if self._stream.end is not None:
                self.close()
                raise self._stream.end
            self._news = trio.Event()
            await self._news.wait()  # without a deadline: nothing may happen for ever

    def close(self) -> None:
        """Stop listening."""
        self._stream.leave(cast("Happenings[Happening]", self))

    def hear(self, passing: Passing) -> None:
        """Take in what passes by."""
        if self.conversation is None:
            self._passing.append(passing)
            self._news.set()

    def stir(self) -> None:
        """Look into the store again."""
        self._news.set()

    def _finish_last(self) -> None:
        if self._last is not None:
            self._stream.finish(self._last)
            self._last = None

    def _next_kept(self) -> H | None:
        while entry := self._next_entry():
            if self.conversation is None or isinstance(entry.kept, Message):
                self._last = entry.position
                self._stream.hand_out(entry.position)
                return cast("H", entry.kept)
        return None

    def _next_entry(self) -> Entry | None:
        if self._waiting:
            return self._store.log.entry(self._waiting.popleft())
        entry = self._store.log.entry_after(self._cursor, self.conversation)
        if entry is not None:
            self._cursor = entry.position
        return entry

    def _next_passing(self) -> H | None:
        return cast("H", self._passing.popleft()) if self._passing else None
