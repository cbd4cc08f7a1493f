"""Reading the log for many devices at once: whoever has to read at the same moment shares one query."""

from collections.abc import Mapping, Sequence
from typing import Final

import trio

from domain.ports import StoreUnavailable
from domain.talk.model import LogPage, LogRequest
from domain.talk.ports import MailboxStore
from relay.cache.batching import BatchedLoader
from relay.cache.outage import Outage
from relay.metrics.counters import Metrics

QUERIES_AT_ONCE: Final = 4
REQUESTS_PER_QUERY: Final = 256


class LogReader:
    """The node's way to the log."""

    def __init__(self, store: MailboxStore, outage: Outage, metrics: Metrics) -> None:
        self._store = store
        self._outage = outage
        self.metrics = metrics
        self._loader = BatchedLoader(self._load, lanes=QUERIES_AT_ONCE, most=REQUESTS_PER_QUERY)

    async def read(self, requests: Sequence[LogRequest]) -> Mapping[LogRequest, LogPage]:
        """Return the pages; a device that does not belong to a conversation has none. Raises StoreUnavailable."""
        return await self._loader.ask(requests)

    async def _load(self, requests: Sequence[LogRequest]) -> Mapping[LogRequest, LogPage]:
        self.metrics.read_requests.observe(len(requests))
        began = trio.current_time()
        try:
            pages = await self._store.read(requests)
        except StoreUnavailable:
            self.metrics.failed_reads += 1
            self._outage.failed()
            raise
        self.metrics.reads.observe(trio.current_time() - began)
        self._outage.answered()
        return {request: page for request, page in zip(requests, pages, strict=True) if page is not None}
