"""What the tests of storage share: an island, and connections on it."""

import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path

import asyncpg
import pytest

from storage.database import Connection
from storage.embedded.cluster import prepare_cluster
from storage.island import Island, open_island
from tests.system import SCRATCH


@pytest.fixture
def short_path() -> Iterator[Path]:
    """An empty folder whose path is short enough for a socket in it, wherever pytest keeps its own."""
    with tempfile.TemporaryDirectory(prefix="varde-", dir=SCRATCH) as path:
        yield Path(path)


@pytest.fixture(scope="session")
def prepared() -> Iterator[Path]:
    """A folder in which a cluster was made, which no test may run or change."""
    with tempfile.TemporaryDirectory(prefix="varde-", dir=SCRATCH) as path:
        prepare_cluster(Path(path))
        yield Path(path)


@pytest.fixture
async def island() -> AsyncIterator[Island]:
    """An asyncio island of the test's own."""
    async with open_island() as island:
        yield island


Connect = Callable[[str], Coroutine[None, None, Connection]]


@pytest.fixture
async def connect(island: Island) -> AsyncIterator[Connect]:
    """Opens connections on the island, and closes them after the test."""
    opened: list[Connection] = []

    async def connect(url: str) -> Connection:
        connection: Connection = await island.run(asyncpg.connect, url)
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        await island.run(connection.close)
