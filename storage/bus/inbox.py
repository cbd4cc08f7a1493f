"""What a bus heard, on its way from the asyncio side to the Trio side.

It keeps the order and is bounded: when the Trio side is too slow, texts are dropped and it is told to resync.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Final

import trio

from storage.island import Island, IslandClosed

WAITING_LIMIT: Final = 65_536  # texts, 500 MB at the very most; who is that far behind reads the truth faster
BATCH_LENGTH: Final = 128 * 1024  # characters in one go, some hundreds of events; then every ready Trio task has a turn

Lost = frozenset[str] | None
"""The topics under which something may have been missed; None for all of them."""


class Inbox:
    """One bus's queue. `put`, `lose`, `report` and `start` belong to the asyncio side, all else to the Trio side.

    Texts are handed over where Trio takes in what comes from other threads, not in a task that would have to be woken
    first. What `receive` and `resync` raise cannot be raised there: it is kept in `fault`, and `scope` is cancelled.
    """

    def __init__(
        self,
        island: Island,
        scope: trio.CancelScope,
        receive: Callable[[str], object],
        resync: Callable[[Lost], object],
        limit: int = WAITING_LIMIT,
    ) -> None:
        self.fault: BaseException | None = None
        self._island = island
        self._scope = scope
        self._receive = receive
        self._resync = resync
        self._limit = limit
        # Texts and losses in one queue: a text that was heard before a loss is also handed over before it. Only
        # `append` and `popleft` touch it, which are atomic between the two threads.
        self._waiting: deque[str | frozenset[str] | None] = deque()
        self._overflowed = False
        self._rung = False
        self._closed = False
        self._down_since: float | None = None
        self._down_before = 0.0

    @property
    def down(self) -> bool:
        """Whether the bus, or a part of it, is known to be away."""
        return self._down_since is not None

    @property
    def down_seconds(self) -> float:
        """How long it was away, in all."""
        since = self._down_since  # once: the other thread may end the outage between two looks
        return self._down_before + (0.0 if since is None else time.monotonic() - since)

    def put(self, text: str) -> None:
        """Hand over one text or, when too many wait, note that some were lost."""
        if len(self._waiting) >= self._limit:
            self._overflowed = True
        else:
            self._waiting.append(text)
        self._ring()

    def lose(self, topics: Lost) -> None:
        """Note that something under these topics may have been missed until now."""
        self._waiting.append(topics)
        self._ring()

    def report(self, *, down: bool) -> None:
        """Note whether the bus is away."""
        if down and self._down_since is None:
            self._down_since = time.monotonic()
        elif not down and self._down_since is not None:
            self._down_before, self._down_since = self.down_seconds, None

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start what runs until the bus is closed. When it ends before, the island died, or it is a bug to be seen."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._note_end)
        return task

    def close(self) -> None:
        """Take it that what was started ends now. On either side."""
        self._closed = True

    def fail(self, fault: BaseException) -> None:
        """End the bus's block with this exception; the first one counts."""
        if self.fault is None:
            self.fault = fault
            self._scope.cancel()

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not self._closed:
            fault = IslandClosed("the bus went with its island") if task.cancelled() else task.exception()
            self._island.push(self.fail, fault or AssertionError("what hears the bus returned"))

    def _ring(self) -> None:
        # Lowered before the queue is read and looked at after it was filled, so no text is left behind unrung.
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
        if self._overflowed:
            self._overflowed = False
            self._resync(None)
        length = 0
        while self._waiting and length < BATCH_LENGTH:
            heard = self._waiting.popleft()
            if isinstance(heard, str):
                length += len(heard)
                self._receive(heard)
            else:
                self._resync(heard)
        if self._waiting:
            self._ring()
