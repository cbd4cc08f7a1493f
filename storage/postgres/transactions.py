"""The way of every store to the database: a transaction, tried again after a deadlock or a serialization failure."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar, TypeVarTuple

import asyncpg

from storage.database import Connection, Pool
from storage.island import Island
from storage.postgres.errors import RETRYABLE, store_errors
from storage.postgres.pool import Timeouts

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Answer = Coroutine[Any, Any, T]

SECONDS: Final = 1.0
# All pauses together are 0.6 s at most, little of the ten seconds that the journal gives a commit.
TRIES: Final = 6
PAUSE: Final = 0.02 * SECONDS  # at most, before the second try; doubled with every further one

_RANDOM: Final = random.SystemRandom()


# An exception, because asyncpg commits whatever block is left in another way.
class Undo(Exception):
    """Raised within a transaction: undo it, and let the call answer `answer`."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer: Any = answer


class Transactions:
    """Runs the stores' work on the island. Every call is a checkpoint and may raise StoreUnavailable."""

    def __init__(self, island: Island, pool: Pool, timeouts: Timeouts | None = None) -> None:
        self._island = island
        self._pool = pool
        self._timeouts = timeouts or Timeouts()

    async def run(self, work: Callable[[Connection, *Ts], Answer[T]], *args: *Ts) -> T:
        """Run `work(connection, *args)` in one transaction. It may run again: of a failed try nothing remains."""
        with store_errors():
            return await self._island.run(self._persist, lambda connection: _in_transaction(connection, work, *args))

    async def ask(self, work: Callable[[Connection, *Ts], Answer[T]], *args: *Ts) -> T:
        """The same for work that is a single statement: it is a transaction already, and needs no BEGIN."""
        with store_errors():
            return await self._island.run(self._persist, lambda connection: work(connection, *args))

    async def _persist(self, work: Callable[[Connection], Answer[T]]) -> T:
        for attempt in range(TRIES - 1):
            try:
                return await self._try(work)
            except RETRYABLE:
                # At random from nothing on: two that met once would otherwise meet again after the same pause.
                await asyncio.sleep(_RANDOM.uniform(0, PAUSE * 2**attempt))
        return await self._try(work)

    async def _try(self, work: Callable[[Connection], Answer[T]]) -> T:
        # Anew with each try: in the pause between two, others may have the connection.
        connection = await self._pool.acquire(timeout=self._timeouts.acquire)
        try:
            return await work(connection)
        except asyncpg.ReadOnlySQLTransactionError:
            # A standby by now, and its connection is in good health: kept, it would refuse every change until somebody
            # restarts the program. The next one finds the primary, if the URL names both (target_session_attrs).
            connection.terminate()
            await self._pool.expire_connections()
            raise
        finally:
            await self._pool.release(connection, timeout=self._timeouts.cancel)


async def _in_transaction(connection: Connection, work: Callable[[Connection, *Ts], Answer[T]], *args: *Ts) -> T:
    try:
        async with connection.transaction():
            return await work(connection, *args)
    except Undo as undo:
        answer: T = undo.answer
        return answer
