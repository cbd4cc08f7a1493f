"""The wall clock and fresh ids of this device."""

import os
import time
from datetime import UTC, datetime
from uuid import UUID

from varde_contract.ids import ENTROPY_BYTES, uuid7


def now_ms() -> int:
    """Return milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def now() -> datetime:
    """Return the same as a time."""
    return datetime.fromtimestamp(now_ms() / 1_000, UTC)


def fresh_id() -> UUID:
    """Return a UUIDv7 of now."""
    return uuid7(now_ms(), os.urandom(ENTROPY_BYTES))
