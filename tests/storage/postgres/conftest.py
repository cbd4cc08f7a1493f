"""Stores over a fresh database, and a connection beside them that sees what they did."""

from collections.abc import AsyncIterator

import pytest

from domain.ports import Stores
from settings.storage import DatabaseUrl, StorageSettings
from storage.database import Connection
from storage.stores import open_storage
from tests.storage.conftest import Connect


@pytest.fixture
def config(database_url: str) -> StorageSettings:
    """Where the stores are told to keep everything."""
    return StorageSettings(database=DatabaseUrl(database_url), pool_min=1, pool_max=4)


@pytest.fixture
async def stores(config: StorageSettings) -> AsyncIterator[Stores]:
    """The stores."""
    async with open_storage(config) as stores:
        yield stores


@pytest.fixture
async def beside(connect: Connect, database_url: str) -> Connection:
    """A connection of the test's own. What runs on it runs on the island."""
    return await connect(database_url)
