"""How often somebody may do something: a token bucket for each key, in memory, bounded.

Each API process counts for itself.
"""

import math
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from domain.ports import Clock
from settings.api import RateLimit
from varde_contract.refusals import RefusalCode, Refused

SECOND: Final = 1_000
CAPACITY: Final = 50_000
"""Keys remembered. A key whose bucket is full again is forgotten, because nothing is lost with it."""
SWEEP: Final = 1 * SECOND

K = TypeVar("K", bound=Hashable)


class TokenBuckets(Generic[K]):
    """A token bucket for each of many keys. `spend` is a plain function: nothing happens between looking and taking."""

    def __init__(self, limit: RateLimit, too_many: str, *, clock: Clock, capacity: int = CAPACITY) -> None:
        """`too_many` is what a person is told when the bucket is empty."""
        self._burst = limit.burst
        self._refill_ms = limit.refill * SECOND
        self._too_many = too_many
        self._clock = clock
        self._capacity = capacity
        # Not how many tokens are left, but when the bucket is full again: one number says both, and needs no ticking.
        self._full_at: dict[K, float] = {}
        self._newcomers_full_at = 0.0
        self._swept_at = -math.inf

    def spend(self, key: K) -> Refused | None:
        """Take one token of a key. Refuses `rate-limited`, and says when there is a token again."""
        now = float(self._clock())
        known = key in self._full_at or self._has_room(now)
        # Past the capacity nobody is forgotten, or a crowd of fresh keys would wash out the one that is limited: who is
        # new shares one bucket with all others that are new.
        before = self._full_at.get(key, now) if known else self._newcomers_full_at
        full_at = max(before, now) + self._refill_ms
        short_ms = full_at - now - self._burst * self._refill_ms
        if short_ms > 0:
            return Refused(RefusalCode.RATE_LIMITED, self._too_many, retry_after_ms=int(short_ms) + 1)
        if known:
            self._full_at[key] = full_at
        else:
            self._newcomers_full_at = full_at
        return None

    def _has_room(self, now: float) -> bool:
        if len(self._full_at) >= self._capacity and now >= self._swept_at + SWEEP:
            self._swept_at = now
            self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        return len(self._full_at) < self._capacity

    def __len__(self) -> int:
        return len(self._full_at)
