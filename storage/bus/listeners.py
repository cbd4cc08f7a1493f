"""The queue of payloads from a bus's asyncio side to its listeners on the Trio side.

It keeps their order and is bounded: when listeners are too slow, payloads are dropped and the listeners told to resync.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import trio

from storage.bus.text_bus import Receive, Resync
from storage.island import Island

WAITING_LIMIT: Final = 65_536  # payloads, 500 MB at the very most; who is that far behind reads the truth faster
BATCH: Final = 32  # payloads in one go, of dozens of events each; then every Trio task that is ready has its turn


@dataclass(eq=False, slots=True)
class _Listener:
    receive: Receive
    resync: Resync
    listens: bool = True


class ListenerQueue:
    """One bus's queue and its listeners. `put` and `lose` belong to the asyncio side, all else to the Trio side.

    Payloads are handed over where Trio takes in what comes from other threads, not in a task that would have to be
    woken first. What a listener raises cannot be raised there: it is kept in `fault`, and `scope` is cancelled.
    """

    def __init__(self, island: Island, scope: trio.CancelScope, limit: int = WAITING_LIMIT) -> None:
        self.fault: BaseException | None = None
        self._island = island
        self._scope = scope
        self._limit = limit
        self._listeners: tuple[_Listener, ...] = ()
        self._waiting: deque[str] = deque()
        self._lost = False
        self._rung = False

    @contextmanager
    def listen(self, receive: Receive, resync: Resync) -> Iterator[None]:
        """Hand everything to these functions, too, until the block ends."""
        listener = _Listener(receive, resync)
        self._listeners += (listener,)
        try:
            yield
        finally:
            listener.listens = False
            self._listeners = tuple(each for each in self._listeners if each is not listener)

    def put(self, payload: str) -> None:
        """Hand over one payload or, when too many wait, note that some were lost."""
        if len(self._waiting) >= self._limit:
            self._lost = True
        else:
            self._waiting.append(payload)
        self._ring()

    def lose(self) -> None:
        """Note that payloads may have been lost: the listeners will resync."""
        self._lost = True
        self._ring()

    def fail(self, fault: BaseException) -> None:
        """End the bus's block with this exception; the first one counts."""
        if self.fault is None:
            self.fault = fault
            self._scope.cancel()

    def _ring(self) -> None:
        # Lowered before the queue is read and looked at after it was filled, so no payload is left behind unrung.
        if not self._rung:
            self._rung = True
            self._island.push(self._empty)

    def _empty(self) -> None:
        self._rung = False
        try:
            self._hand_over()
        except BaseException as error:  # noqa: BLE001  raised here, it would end the program without a word of why
            self.fail(error)

    def _hand_over(self) -> None:
        if self._lost:
            self._lost = False
            for listener in self._listeners:
                if listener.listens:  # one may have ended another's block
                    listener.resync()
        for _ in range(min(BATCH, len(self._waiting))):
            payload = self._waiting.popleft()
            for listener in self._listeners:
                if listener.listens:
                    listener.receive(payload)
        if self._waiting:
            self._ring()
