"""What the tests of the relay ask for by name."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from tests.relay.stage import Ground, Letters, Stage, lay_ground, open_stage

T = TypeVar("T")


@pytest.fixture
async def ground() -> Ground:
    """Empty stores, a bus and a clock; and Trio's own time jumps whenever everybody only waits for it."""
    return lay_ground()


@pytest.fixture
async def stage(ground: Ground) -> AsyncIterator[Stage]:
    """A running node over them."""
    async with open_stage(ground) as stage:
        yield stage


@pytest.fixture
def letters() -> Letters:
    """Sends with client ids of their own."""
    return Letters()


def run_in_virtual_time(test: Callable[[], Awaitable[T]], **options: object) -> T:
    """Run a test whose waiting costs no time."""
    instruments = options.get("instruments", ())
    assert not instruments
    return trio.run(test, clock=MockClock(autojump_threshold=0))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every test that stands on `ground` run in virtual time: a clock cannot come from a fixture of a fixture."""
    for item in items:
        if isinstance(item, pytest.Function) and "ground" in item.fixturenames:
            item.add_marker(pytest.mark.trio(run=run_in_virtual_time), append=False)
