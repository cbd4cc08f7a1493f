"""Budgets that hold over all processes: what each has given is added up in the store, and each learns the sum.

A process gives from its own bucket without asking anybody, because a look into the store costs more than the message.
It reports an account only once that has spent a part of the burst worth speaking of (`CHUNK`), and then until its
bucket is full again, about once a second for all accounts at once. So several processes together give an account its
budget, and beyond it at most what each of the others allows until it has heard. That is paid back: nothing is given
again before the sum allows it.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from domain.budgets import Budgets, TokenBuckets
from domain.ports import SpendingStore, Spent, StoreUnavailable

PERIOD: Final = 1.0
"""Seconds between two reports."""
BATCH: Final = 2_000
"""Rows of one report. What is beyond waits for the next one."""


class SharedBuckets(NamedTuple):
    """The buckets of one budget in this process. `encode` makes bytes of a key."""

    budget: str
    buckets: TokenBuckets[Any]
    encode: Callable[[Any], bytes]

    def key(self, key: Any) -> bytes:
        """Return what stands for the budget and the key in the store."""
        return hashlib.sha256(self.budget.encode() + b"\x00" + self.encode(key)).digest()


async def share_spending(store: SpendingStore, shared: Sequence[SharedBuckets]) -> None:
    """Report what this process has given since the last time, and learn what all have given.

    While the store is away every process counts for itself.
    """
    taken = [(each, *due) for each in shared for due in each.buckets.take_due(BATCH)][:BATCH]
    if not taken:
        return
    try:
        full_in = await store.add([Spent(each.key(key), spent) for each, key, spent in taken])
    # What was taken out is not told any more: the others allow that much more, once.
    except StoreUnavailable:
        return
    for (each, key, _), full_in_ms in zip(taken, full_in, strict=True):
        each.buckets.learn(key, full_in_ms)


def shared_budgets(budgets: Budgets) -> list[SharedBuckets]:
    """Let the budgets of accounts be shared."""
    return [share(budget, buckets, _account_key) for budget, buckets in budgets.by_name()]


def share(budget: str, buckets: TokenBuckets[Any], encode: Callable[[Any], bytes]) -> SharedBuckets:
    """Let the buckets of one budget be shared."""
    buckets.share()
    return SharedBuckets(budget, buckets, encode)


def _account_key(account: int) -> bytes:
    return account.to_bytes(16)
