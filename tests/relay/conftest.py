"""What the tests of the relay ask for by name."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

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


def run_in_virtual_time(test: Callable[[], Awaitable[T]], *, idle: float = 0.0, **options: object) -> T:
    """Run a test whose waiting costs no time. The clock jumps when nothing has happened for `idle` real seconds."""
    instruments = options.get("instruments", ())
    assert not instruments
    return trio.run(test, clock=MockClock(autojump_threshold=idle))


OVER_TCP: Final = partial(run_in_virtual_time, idle=0.01)
"""For tests over TCP on this machine: the kernel takes a moment to pass bytes on, in which no clock may jump."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every test that stands on `backend` run in virtual time: a clock cannot come from a fixture of a fixture."""
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if "backend" in item.fixturenames:
            item.add_marker(pytest.mark.trio(run=run_in_virtual_time), append=False)
        elif item.path.stem in {"test_newcomers", "test_floods"}:
            item.add_marker(pytest.mark.trio(run=OVER_TCP), append=False)
