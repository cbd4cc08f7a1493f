"""The store that deletes what is too old."""

from typing import Protocol

from domain.retention.model import Swept


class RetentionStore(Protocol):
    """Everything that passes with time, of every capability."""

    async def sweep(self, now_ms: int, *, retention_ms: int, limit: int) -> Swept:
        """Delete what has passed its time, at most `limit` rows of each; one sweep at a time in the whole fleet.

        Ciphertext goes after `retention_ms`, a message without any after twice that: until then its client id is known.
        A sweep that meets another one removes nothing. Raises StoreUnavailable.
        """
