"""Reads of the stores that connections share: conversation heads, pages of the log, and messages stored before."""

from collections.abc import Mapping, Sequence
from typing import Final

import trio

from domain.ports import StoreUnavailable
from domain.talk.model import Committed, ConversationHead, ListRequest, LogPage, LogRequest, SendKey
from domain.talk.ports import ConversationStore, JournalStore, MailboxStore
from observability.tracing import span
from relay.cache.batching import BatchedLoader
from relay.cache.epochs import Epochs
from relay.cache.outage import Outage
from relay.metrics.counters import Metrics
from varde_contract.ids import ConversationId, DeviceId

LISTS_PER_QUERY: Final = 64
"""A query takes milliseconds with a few conversations each, and a tenth of a second with a Welcome's thousand each."""
LIST_QUERIES_AT_ONCE: Final = 2
"""With pages, keys and rosters these are nine queries at the most, of a pool of ten connections: positions, leases and
budgets must still find one."""
PAGES_PER_QUERY: Final = 256
PAGE_QUERIES_AT_ONCE: Final = 4
KEYS_PER_QUERY: Final = 256
KEY_QUERIES_AT_ONCE: Final = 1
"""Only messages that would be refused are looked up: nobody must be able to keep the database busy with those."""


class ConversationHeads:
    """The conversations of devices, with their heads and the devices' positions."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        self._loader = BatchedLoader(self._load, concurrency=LIST_QUERIES_AT_ONCE, batch_size=LISTS_PER_QUERY)

    async def list_for(self, device: DeviceId, before: ConversationId | None, limit: int) -> Sequence[ConversationHead]:
        """Return a page of the device's conversations, newest first, those older than a cursor.

        Raises StoreUnavailable.
        """
        request = ListRequest(device, before, limit)
        return (await self._loader.get_many([request]))[request]

    async def _load(self, requests: Sequence[ListRequest]) -> Mapping[ListRequest, Sequence[ConversationHead]]:
        return dict(zip(requests, await self._store.list_many(requests), strict=True))


class LogReader:
    """Pages of the log."""

    def __init__(self, store: MailboxStore, epochs: Epochs, outage: Outage, metrics: Metrics) -> None:
        self._store = store
        self._epochs = epochs
        self._outage = outage
        self.metrics = metrics
        self._loader = BatchedLoader(self._load, concurrency=PAGE_QUERIES_AT_ONCE, batch_size=PAGES_PER_QUERY)

    async def read(self, requests: Sequence[LogRequest]) -> Mapping[LogRequest, LogPage]:
        """Return the pages; there is none where the device does not belong to the conversation.

        Raises StoreUnavailable.
        """
        return await self._loader.get_many(requests)

    async def _load(self, requests: Sequence[LogRequest]) -> Mapping[LogRequest, LogPage]:
        self.metrics.read_requests.observe(len(requests))
        began = trio.current_time()
        try:
            with span("read-log", requests=len(requests)):
                pages = await self._store.read(requests)
        except StoreUnavailable:
            self.metrics.failed_reads += 1
            self._outage.failed()
            raise
        if not self._epochs.check():
            raise StoreUnavailable("the numbers are of another epoch")
        self.metrics.reads.observe(trio.current_time() - began)
        self._outage.answered()
        return {request: page for request, page in zip(requests, pages, strict=True) if page is not None}


class CommittedMessages:
    """Messages that were stored before, by sender and client id. For `domain.talk.sending.settle_refusals`."""

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self._loader = BatchedLoader(self._load, concurrency=KEY_QUERIES_AT_ONCE, batch_size=KEYS_PER_QUERY)

    async def find(self, keys: Sequence[SendKey]) -> Sequence[Committed | None]:
        """Return for each key what the ack of its first copy said, or None. Raises StoreUnavailable."""
        found = await self._loader.get_many(keys)
        return [found.get(key) for key in keys]

    async def _load(self, keys: Sequence[SendKey]) -> Mapping[SendKey, Committed]:
        found = await self._store.find_committed(keys)
        return {key: committed for key, committed in zip(keys, found, strict=True) if committed is not None}
