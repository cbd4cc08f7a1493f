"""Questions to a store that travel together: many who ask at once are answered by one query."""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

import trio

from domain.ports import StoreUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Flight(Generic[K, V]):
    """One query: it takes on keys until it departs, and lands in any case."""

    __slots__ = ("answers", "failure", "keys", "landed")

    def __init__(self) -> None:
        self.keys: dict[K, None] = {}
        self.landed = trio.Event()
        self.answers: Mapping[K, V] | None = None
        self.failure: StoreUnavailable | None = None


class BatchedLoader(Generic[K, V]):
    """Answers by key, through `load`: at most `lanes` queries at a time, of about `most` keys each.

    While the lanes are taken, what is asked gathers in the next query: the busier the store, the larger the batches.
    """

    def __init__(self, load: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], *, lanes: int, most: int) -> None:
        self._load = load
        self._lanes = trio.CapacityLimiter(lanes)
        self._most = most
        self._boarding: _Flight[K, V] | None = None

    async def ask(self, keys: Sequence[K]) -> dict[K, V]:
        """Return the answers `load` has for the keys, from a query that began after this call.

        Raises StoreUnavailable.
        """
        found: dict[K, V] = {}
        for start in range(0, len(keys), self._most):
            found.update(await self._travel(keys[start : start + self._most]))
        return found

    async def _travel(self, keys: Sequence[K]) -> dict[K, V]:
        while True:
            flight = await self._board(keys)
            if flight.failure is not None:
                raise StoreUnavailable from flight.failure
            if flight.answers is not None:
                answers = flight.answers
                return {key: answers[key] for key in keys if key in answers}
            # Its pilot was cancelled on the way; the others ask again.

    async def _board(self, keys: Sequence[K]) -> _Flight[K, V]:
        flight = self._boarding
        if flight is not None and len(flight.keys) + len(keys) <= self._most:
            flight.keys.update(dict.fromkeys(keys))
            await flight.landed.wait()  # no deadline of its own: the store has one, and a flight lands in any case
            return flight
        flight = self._boarding = _Flight()
        flight.keys.update(dict.fromkeys(keys))
        await self._fly(flight)
        return flight

    async def _fly(self, flight: _Flight[K, V]) -> None:
        try:
            async with self._lanes:
                self._depart(flight)
                flight.answers = await self._load(list(flight.keys))
        except StoreUnavailable as failure:
            flight.failure = failure
        finally:
            self._depart(flight)
            flight.landed.set()

    def _depart(self, flight: _Flight[K, V]) -> None:
        if self._boarding is flight:
            self._boarding = None
