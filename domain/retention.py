"""Nothing is kept longer than promised: the sweep that deletes what has passed its time, again and again."""

from random import Random
from typing import Final, NoReturn

import trio

from domain.ports import Clock, StoreUnavailable
from domain.talk.model import Swept
from domain.talk.ports import MailboxStore
from varde_contract.limits import SECOND_MS

RETENTION: Final = 30 * 24 * 60 * 60 * SECOND_MS
SWEEP_EVERY: Final = 60.0  # seconds between two sweeps of one node, on average
SWEEP_ROWS: Final = 5_000
"""Rows of each kind in one transaction: small enough to be no burden to those who write meanwhile."""


async def run_retention(store: MailboxStore, *, clock: Clock, dice: Random, retention_ms: int = RETENTION) -> NoReturn:
    """Sweep for as long as the node lives. An outage of the store only delays it."""
    while True:
        # The first wait too: nodes that started together must not sweep together.
        await trio.sleep(SWEEP_EVERY * dice.uniform(0.5, 1.5))
        try:
            while await sweep(store, now_ms=clock(), retention_ms=retention_ms):
                await trio.lowlevel.checkpoint()
        except StoreUnavailable:
            continue


async def sweep(store: MailboxStore, *, now_ms: int, retention_ms: int = RETENTION) -> bool:
    """Sweep once; True when there may be more that has passed its time. Raises StoreUnavailable."""
    swept = await store.sweep(now_ms, retention_ms=retention_ms, limit=SWEEP_ROWS)
    return _fullest(swept) >= SWEEP_ROWS


def _fullest(swept: Swept) -> int:
    return max(swept.ciphertexts, swept.messages, swept.codes, swept.sessions, swept.revocations)
