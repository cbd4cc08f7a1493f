"""How often somebody may do something: a token bucket for each key, in memory, bounded.

Each API process counts for itself.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from domain.ports import Clock
from settings.api import RateLimit
from varde_contract.refusals import RefusalCode, Refused

SECOND: Final = 1_000
CAPACITY: Final = 50_000
"""Keys; past that the one that asked longest ago is forgotten, which only ever lets it ask again."""

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
        self._full_at: OrderedDict[K, float] = OrderedDict()

    def spend(self, key: K) -> Refused | None:
        """Take one token of a key. Refuses `rate-limited`, and says when there is a token again."""
        now = float(self._clock())
        full_at = max(self._full_at.get(key, now), now) + self._refill_ms
        short_ms = full_at - now - self._burst * self._refill_ms
        if short_ms > 0:
            return Refused(RefusalCode.RATE_LIMITED, self._too_many, retry_after_ms=int(short_ms) + 1)
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._capacity:
            self._full_at.popitem(last=False)
        return None

    def __len__(self) -> int:
        return len(self._full_at)
