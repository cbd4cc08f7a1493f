"""What the tests of the relay ask for by name."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from tests.relay.memory_node import Backend, MemoryNode, Sends, make_backend, open_node

T = TypeVar("T")


@pytest.fixture
async def backend() -> Backend:
    """Empty stores, a bus and a clock; and Trio's own time jumps whenever everybody only waits for it."""
    return make_backend()


@pytest.fixture
async def node(backend: Backend) -> AsyncIterator[MemoryNode]:
    """A running node over them."""
    async with open_node(backend) as node:
        yield node


@pytest.fixture
def sends() -> Sends:
    """Sends with client ids of their own."""
    return Sends()


def run_in_virtual_time(test: Callable[[], Awaitable[T]], **options: object) -> T:
    """Run a test whose waiting costs no time."""
    instruments = options.get("instruments", ())
    assert not instruments
    return trio.run(test, clock=MockClock(autojump_threshold=0))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every test that stands on `backend` run in virtual time: a clock cannot come from a fixture of a fixture."""
    for item in items:
        if isinstance(item, pytest.Function) and "backend" in item.fixturenames:
            item.add_marker(pytest.mark.trio(run=run_in_virtual_time), append=False)
