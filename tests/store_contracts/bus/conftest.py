"""A fleet of each kind, for the tests of the bus."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from storage.island import Island, open_island
from tests.store_contracts.bus.buses import Fleet, Line, MemoryFleet, NotifyFleet, ValkeyFleet


@pytest.fixture
async def island() -> AsyncIterator[Island]:
    """An asyncio island of the test's own."""
    async with open_island() as island:
        yield island


@asynccontextmanager
async def open_notify_fleet(island: Island, url: str) -> AsyncIterator[NotifyFleet]:
    """LISTEN/NOTIFY on this database, behind a line."""
    watcher = await island.run(asyncpg.connect, url)
    with TemporaryDirectory(prefix="varde-", dir="/tmp") as folder:
        line = Line(Path(folder), url)
        async with line.connected():
            yield NotifyFleet(island, line, watcher)
    await island.run(watcher.close)


@pytest.fixture(params=["memory", "notify", "valkey", "valkey_cluster"])
async def fleet(request: pytest.FixtureRequest, island: Island) -> AsyncIterator[Fleet]:
    """What the promises are judged over."""
    match request.param:
        case "memory":
            yield MemoryFleet()
        case "notify":
            async with open_notify_fleet(island, request.getfixturevalue("bare_database_url")) as fleet:
                yield fleet
        case kind:
            yield ValkeyFleet(island, request.getfixturevalue(kind))
