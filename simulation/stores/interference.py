"""What a test does between the domain and the memory stores: outages, held commits, lost answers."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from domain.ports import StoreUnavailable


class Interference:
    """What a test does to the stores. Nothing, until told.

    `unavailable`: every call of every store raises StoreUnavailable, and has no effect.
    `silent`: every call that begins now waits until it is cancelled.
    """

    def __init__(self) -> None:
        self.unavailable = False
        self.silent = False
        self._free = trio.Event()
        self._free.set()
        self._held = trio.Semaphore(0)
        self._lose = 0

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Be unavailable while the block runs."""
        self.unavailable = True
        try:
            yield
        finally:
            self.unavailable = False

    def hold_commits(self) -> None:
        """Let every journal commit that begins from now on wait, nothing stored yet, until `release_commits`."""
        if self._free.is_set():
            self._free = trio.Event()

    def release_commits(self) -> None:
        """Let all held commits go on, and later ones pass."""
        self._free.set()

    async def wait_commit_held(self) -> None:
        """Return when a commit waits to be released. Each call of this counts one commit."""
        await self._held.acquire()

    def lose_commit_answers(self, count: int = 1) -> None:
        """Let the next `count` commits be stored and raise StoreUnavailable all the same: nobody knows their effect."""
        self._lose = count

    async def let_through(self) -> None:
        """Every store's first step. A checkpoint. Raises StoreUnavailable."""
        # The only checkpoint of a call: what a store does after it is one transaction, without a lock.
        await trio.lowlevel.checkpoint()
        if self.silent:
            await trio.sleep_forever()
        self._refuse()

    async def let_commit_through(self) -> None:
        """The journal's first step. Raises StoreUnavailable."""
        await self.let_through()
        if not self._free.is_set():
            self._held.release()
            await self._free.wait()
            self._refuse()

    def let_commit_answer(self) -> None:
        """The journal's last step. Raises StoreUnavailable."""
        if self._lose:
            self._lose -= 1
            raise StoreUnavailable("the answer was lost")

    def _refuse(self) -> None:
        if self.unavailable:
            raise StoreUnavailable("the memory stores were told to be unavailable")
