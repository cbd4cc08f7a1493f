"""Ids for tests: readable, in the order of their numbers, and good everywhere."""

from uuid import UUID

from varde_contract.ids import ENTROPY_BYTES, uuid7


def id_of(number: int, now_ms: int = 1_767_225_600_000) -> UUID:
    """Return the UUIDv7 that has this number, below 2^62, in its random bits; the time is 2026-01-01T00:00:00Z."""
    return uuid7(now_ms, number.to_bytes(ENTROPY_BYTES))
