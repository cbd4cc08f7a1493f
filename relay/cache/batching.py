"""Queries that are shared: keys that are asked for at the same moment are loaded with one query."""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

import trio

from domain.ports import StoreUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Batch(Generic[K, V]):
    """One query. It takes keys until it starts; `done` is set in any case, cancellation included."""

    __slots__ = ("answers", "done", "failure", "keys")

    def __init__(self) -> None:
        self.keys: dict[K, None] = {}
        self.done = trio.Event()
        self.answers: Mapping[K, V] | None = None
        self.failure: StoreUnavailable | None = None


class BatchedLoader(Generic[K, V]):
    """Answers by key, through `load`: at most `concurrency` queries at a time, of at most `batch_size` keys each.

    While all queries are running, further keys gather in the next one: the busier the store, the larger the batches.
    """

    def __init__(
        self, load: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], *, concurrency: int, batch_size: int
    ) -> None:
        self._load = load
        self._limiter = trio.CapacityLimiter(concurrency)
        self._batch_size = batch_size
        self._open: _Batch[K, V] | None = None
        """The batch that still takes keys."""

    async def get_many(self, keys: Sequence[K]) -> dict[K, V]:
        """Return the answers that `load` has for the keys, from a query that began after this call.

        Raises StoreUnavailable.
        """
        found: dict[K, V] = {}
        for start in range(0, len(keys), self._batch_size):
            found.update(await self._get_some(keys[start : start + self._batch_size]))
        return found

    async def _get_some(self, keys: Sequence[K]) -> dict[K, V]:
        while True:
            batch = await self._join_batch(keys)
            if batch.failure is not None:
                raise StoreUnavailable from batch.failure
            if batch.answers is not None:
                answers = batch.answers
                return {key: answers[key] for key in keys if key in answers}
            # The task that ran the query was cancelled, with its connection perhaps. The others ask again.

    async def _join_batch(self, keys: Sequence[K]) -> _Batch[K, V]:
        batch = self._open
        if batch is not None and len(batch.keys) + len(keys) <= self._batch_size:
            batch.keys.update(dict.fromkeys(keys))
            await batch.done.wait()  # no deadline of its own: the store has one, and `done` is set in any case
            return batch
        batch = self._open = _Batch()
        batch.keys.update(dict.fromkeys(keys))
        await self._run(batch)
        return batch

    async def _run(self, batch: _Batch[K, V]) -> None:
        # In the task of whoever opened the batch: no task of its own that would have to outlive it.
        try:
            async with self._limiter:
                self._close(batch)
                batch.answers = await self._load(list(batch.keys))
        except StoreUnavailable as failure:
            batch.failure = failure
        finally:
            # Also where the task was cancelled before its turn: keys must not gather in a batch that nobody loads.
            self._close(batch)
            batch.done.set()

    def _close(self, batch: _Batch[K, V]) -> None:
        if self._open is batch:
            self._open = None
