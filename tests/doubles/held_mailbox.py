"""A mailbox store whose answers a test holds back after the log was read."""

from collections.abc import Sequence

import trio

from domain.talk import model as talk
from domain.talk.ports import MailboxStore
from varde_contract.ids import ConversationId, ProfileId


class HeldMailbox:
    """A `domain.talk.ports.MailboxStore` around another."""

    def __init__(self, store: MailboxStore) -> None:
        self._store = store
        self._free = trio.Event()
        self._free.set()
        self._held = trio.Semaphore(0)

    def hold_pages(self) -> None:
        """Let every page that is read from now on wait for `release_pages`; who asks for one number only passes."""
        self._free = trio.Event()

    def release_pages(self) -> None:
        """Let the pages that wait go on, and later ones pass."""
        self._free.set()

    async def wait_page_held(self) -> None:
        """Return when a page was read and waits. Each call of this counts one query."""
        await self._held.acquire()

    async def read(self, requests: Sequence[talk.LogRequest]) -> Sequence[talk.LogPage | None]:
        """Read, then wait."""
        pages = await self._store.read(requests)
        if not self._free.is_set() and any(request.limit > 1 for request in requests):
            self._held.release()
            await self._free.wait()
        return pages

    async def confirm(self, confirmations: Sequence[talk.Confirmation]) -> Sequence[talk.Confirmation]:
        """As it is."""
        return await self._store.confirm(confirmations)

    async def mark_read(self, marks: Sequence[tuple[ConversationId, ProfileId, int]]) -> Sequence[int]:
        """As it is."""
        return await self._store.mark_read(marks)
