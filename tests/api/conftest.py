"""What the tests of the API ask for by name."""

from collections.abc import AsyncIterator

import pytest

from tests.api.face import Face, open_face


@pytest.fixture
async def face() -> AsyncIterator[Face]:
    """A live API that knows the whole cast."""
    async with open_face() as opened:
        yield opened


@pytest.fixture
async def new_face() -> AsyncIterator[Face]:
    """A live API that knows nobody."""
    async with open_face(known=False) as opened:
        yield opened
