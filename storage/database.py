"""The database of this program, embedded or by URL, and the names of asyncpg's types."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from settings.storage import DatabaseUrl, EmbeddedDatabase
from storage.embedded.server import open_embedded_postgres

# In quotes: asyncpg's classes are generic to mypy only.
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
PoolOrConnection: TypeAlias = "Pool | Connection"


@asynccontextmanager
async def open_database(database: EmbeddedDatabase | DatabaseUrl) -> AsyncIterator[str]:
    """Yield the asyncpg URL. An embedded server is joined, or else runs for as long as the block; see its own words.

    Raises:
        ClusterError: the embedded server's folder cannot be used.
        EmbeddedPostgresError: the embedded server does not start.
    """
    match database:
        case DatabaseUrl(url):
            yield url
        case EmbeddedDatabase(folder):
            async with open_embedded_postgres(folder) as url:
                yield url
