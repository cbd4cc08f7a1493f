"""The pool of connections of one process, with its timeouts and session settings."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import asyncpg
import trio

from storage.database import Connection, Pool
from storage.island import Island, IslandClosed
from storage.postgres.errors import domain_errors

SECONDS: Final = 1.0
QUERIES_PER_CONNECTION: Final = 10_000_000  # each new connection has to plan everything again
SETTINGS: Final = {
    "application_name": "varde",
    "jit": "off",
    # A plan is made once and kept. One made while the tables were empty would read them from end to end, and go on
    # doing so under load until the first autovacuum; every statement here has an index it should use from the start.
    "enable_seqscan": "off",
    # Really once. Left to itself, Postgres compares the plan for any arrays with one for these arrays, finds the latter
    # cheaper as long as batches are small, and so plans the journal's statement anew with every commit, which takes as
    # long as running it: half of all its work at a message per batch, a third at sixteen.
    "plan_cache_mode": "force_generic_plan",
}


Check: TypeAlias = Callable[[Connection], Coroutine[Any, Any, None]]
"""Called with each new connection before it is used."""

_pool_log: Final = logging.getLogger("asyncpg.pool")


def _drop_reason(record: logging.LogRecord) -> bool:
    """Let the pool say that it could not connect, but not why: the reason names hosts and users, in forty lines."""
    record.exc_info = None
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long the database is waited for, in seconds."""

    acquire: float = 5 * SECONDS  # for a free connection
    statement: float = 10 * SECONDS  # for each statement, and for a new connection
    cancel: float = 1 * SECONDS  # for a statement that was given up to end over there; its connection is dropped then
    close: float = 5 * SECONDS  # for what is under way when the pool closes


@asynccontextmanager
async def open_pool(
    island: Island,
    url: str,
    *,
    least: int,
    most: int,
    timeouts: Timeouts | None = None,
    check: Check | None = None,
) -> AsyncIterator[Pool]:
    """Connect `least` times now and up to `most` times when asked; disconnect at exit. `check` sees each connection.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    timeouts = timeouts or Timeouts()
    _pool_log.addFilter(_drop_reason)
    with domain_errors():
        pool = await island.run(_connect, url, least, most, timeouts, check)
    try:
        yield pool
    finally:
        # A dead island has taken the connections with it.
        with trio.CancelScope(shield=True), suppress(IslandClosed):
            await island.run(_disconnect, pool, timeouts)


async def _connect(url: str, least: int, most: int, timeouts: Timeouts, check: Check | None) -> Pool:
    return await asyncpg.create_pool(
        url,
        min_size=least,
        max_size=most,
        max_queries=QUERIES_PER_CONNECTION,
        timeout=timeouts.statement,
        command_timeout=timeouts.statement,
        server_settings=SETTINGS,
        init=check,
        reset=_leave_as_it_is,
    )


async def _leave_as_it_is(connection: Any) -> None:
    """Spare every call a round trip: no store changes a session; what it sets, it sets for its transaction."""


async def _disconnect(pool: Pool, timeouts: Timeouts) -> None:
    # By itself `close` waits for connections in use without end.
    try:
        await asyncio.wait_for(pool.close(), timeouts.close)
    except TimeoutError:
        pool.terminate()
