"""Messages that a sender repeats because it never heard of their ack: looked for before a repetition is refused."""

from collections.abc import Mapping, Sequence
from typing import Final

from domain.talk.model import Committed, SendKey
from domain.talk.ports import JournalStore
from relay.cache.batching import BatchedLoader

QUERIES_AT_ONCE: Final = 1
"""Only what would be refused is looked for: nobody shall keep the database busy with that."""
KEYS_PER_QUERY: Final = 256


class Repeats:
    """The way to what a device has stored before, under the client id it sends again."""

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self._loader = BatchedLoader(self._load, lanes=QUERIES_AT_ONCE, most=KEYS_PER_QUERY)

    async def find(self, keys: Sequence[SendKey]) -> Mapping[SendKey, Committed]:
        """Return what the ack of each first copy said, of those that were stored. Raises StoreUnavailable.

        To be asked when `decide` refuses: rosters move, and devices leave, after a message was stored. Its sender is
        still owed the ack, and nobody else can ask, because the device is part of the key.
        """
        return await self._loader.ask(keys)

    async def _load(self, keys: Sequence[SendKey]) -> Mapping[SendKey, Committed]:
        found = await self._store.find_committed(keys)
        return {key: committed for key, committed in zip(keys, found, strict=True) if committed is not None}
