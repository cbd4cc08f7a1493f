"""A fleet of each kind, for the tests of the bus."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from storage.island import Island, open_island
from tests.store_contracts.bus.buses import Fleet, Line, MemoryFleet, NotifyFleet, RealFleet, ValkeyFleet


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


@asynccontextmanager
async def open_real_fleet(request: pytest.FixtureRequest, island: Island) -> AsyncIterator[RealFleet]:
    """One on the server that the test is parametrised with."""
    if request.param == "notify":
        async with open_notify_fleet(island, request.getfixturevalue("bare_database_url")) as fleet:
            yield fleet
    else:
        yield ValkeyFleet(island, request.getfixturevalue(request.param))


@pytest.fixture(params=["notify", "valkey", "valkey_cluster"])
async def real_fleet(request: pytest.FixtureRequest, island: Island) -> AsyncIterator[RealFleet]:
    """Those with a server that a test can stop."""
    async with open_real_fleet(request, island) as fleet:
        yield fleet


@pytest.fixture(params=["memory", "notify", "valkey", "valkey_cluster"])
async def fleet(request: pytest.FixtureRequest, island: Island) -> AsyncIterator[Fleet]:
    """What the promises are judged over: the double, too."""
    if request.param == "memory":
        yield MemoryFleet()
    else:
        async with open_real_fleet(request, island) as fleet:
            yield fleet
