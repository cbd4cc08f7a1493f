"""The retention time, and one sweep."""

from typing import Final

from domain.retention.ports import RetentionStore
from varde_contract.limits import SECOND_MS

RETENTION_MS: Final = 30 * 24 * 60 * 60 * SECOND_MS
"""Of ciphertext, as clients are told (docs/protocol.md). What a message is known by is kept twice as long, for those
that are sent again."""
SWEEP_ROWS: Final = 5_000
"""Rows of each kind in one transaction: small enough to be no burden to those who write meanwhile."""


async def sweep(store: RetentionStore, *, now_ms: int, retention_ms: int = RETENTION_MS) -> bool:
    """Sweep once; True when there may be more that has passed its time. Raises StoreUnavailable."""
    swept = await store.sweep(now_ms, retention_ms=retention_ms, limit=SWEEP_ROWS)
    rows = (swept.ciphertexts, swept.messages, swept.codes, swept.sessions, swept.revocations)
    return max(rows) >= SWEEP_ROWS
