"""The stores that the suites judge: those over Postgres and their double in memory, by the same tests."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from domain.ports import Stores
from settings.storage import DatabaseUrl, StorageSettings
from simulation.stores import open_memory_stores
from simulation.stores.bus import RecordingBus
from simulation.stores.memory import Memory
from storage.stores import open_storage


@pytest.fixture(params=["memory", "postgres"])
def kept_in(request: pytest.FixtureRequest) -> str | None:
    """The URL of an empty database, or None for memory."""
    return str(request.getfixturevalue("database_url")) if request.param == "postgres" else None


@pytest.fixture
async def nodes(kept_in: str | None) -> AsyncIterator[tuple[Stores, Stores]]:
    """Two nodes of one fleet: what one stores, the other finds."""
    async with AsyncExitStack() as stack:
        if kept_in is None:
            memory, bus = Memory(), RecordingBus()
            yield open_memory_stores(memory=memory, bus=bus), open_memory_stores(memory=memory, bus=bus)
        else:
            config = StorageSettings(database=DatabaseUrl(kept_in), pool_min=1, pool_max=5)
            one = await stack.enter_async_context(open_storage(config))
            yield one, await stack.enter_async_context(open_storage(config))


@pytest.fixture
async def stores(kept_in: str | None) -> AsyncIterator[Stores]:
    """One node."""
    if kept_in is None:
        yield open_memory_stores()
    else:
        async with open_storage(StorageSettings(database=DatabaseUrl(kept_in), pool_min=1, pool_max=5)) as stores:
            yield stores
