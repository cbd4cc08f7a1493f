"""Where devices stand, for many at once: those who come back at the same moment share a query."""

from collections.abc import Mapping, Sequence
from typing import Final

from domain.talk.model import ConversationHead, ListRequest
from domain.talk.ports import ConversationStore
from relay.cache.batching import BatchedLoader
from varde_contract.ids import ConversationId, DeviceId

QUERIES_AT_ONCE: Final = 2
REQUESTS_PER_QUERY: Final = 64
"""A query takes milliseconds with a few conversations each, and a tenth of a second with a Welcome's thousand each."""


class ConversationHeads:
    """The way of a node's connections to the list of their conversations."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        self._loader = BatchedLoader(self._load, lanes=QUERIES_AT_ONCE, most=REQUESTS_PER_QUERY)

    async def list_for(self, device: DeviceId, after: ConversationId | None, limit: int) -> Sequence[ConversationHead]:
        """Return where the device stands in its conversations, in the order of their ids, after a cursor.

        Raises StoreUnavailable.
        """
        request = ListRequest(device, after, limit)
        return (await self._loader.ask([request]))[request]

    async def _load(self, requests: Sequence[ListRequest]) -> Mapping[ListRequest, Sequence[ConversationHead]]:
        return dict(zip(requests, await self._store.list_many(requests), strict=True))
