"""What the tests of the API ask for by name."""

from collections.abc import AsyncIterator

import pytest

from tests.api.memory_api import MemoryApi, open_memory_api


@pytest.fixture
async def api() -> AsyncIterator[MemoryApi]:
    """A live API that knows the whole cast."""
    async with open_memory_api() as opened:
        yield opened


@pytest.fixture
async def empty_api() -> AsyncIterator[MemoryApi]:
    """A live API that knows nobody."""
    async with open_memory_api(known=False) as opened:
        yield opened
