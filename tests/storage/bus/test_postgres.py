"""The wire over LISTEN/NOTIFY: what only a bus with connections to a database can promise."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import trio

from storage.bus.event_bus import open_event_bus
from storage.bus.postgres import LOST, PostgresWire
from storage.bus.wire import BusDown
from storage.island import Island, IslandClosed, open_island
from tests.store_contracts.bus.buses import NotifyFleet, RecordingListener
from tests.store_contracts.bus.conftest import open_notify_fleet
from tests.store_contracts.bus.test_bus import note


@pytest.fixture
async def fleet(island: Island, bare_database_url: str) -> AsyncIterator[NotifyFleet]:
    """A database of the test's own."""
    async with open_notify_fleet(island, bare_database_url) as fleet:
        yield fleet


async def test_a_bus_holds_two_connections_and_leaves_none(fleet: NotifyFleet) -> None:
    """One listens, one publishes, however much is done; after the block both are gone."""
    listener = RecordingListener()
    async with fleet.open_bus() as bus:
        assert await fleet.count() == 1
        with bus.listen(listener.receive, listener.resync):
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(bus.publish, [note(number)])
        assert await fleet.count() == 2
    while await fleet.count():
        await trio.lowlevel.checkpoint()


async def test_a_bus_cancelled_at_once_leaves_no_connection(fleet: NotifyFleet) -> None:
    """Cancelled while it opens, or right after, a bus clears up behind itself."""
    for steps in range(20):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_after, steps, scope)
                async with fleet.open_bus():
                    scope.cancel()
    while await fleet.count():
        await trio.lowlevel.checkpoint()


async def _cancel_after(steps: int, scope: trio.CancelScope) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def test_without_a_database_there_is_no_bus(island: Island, tmp_path: Path) -> None:
    """A bus that cannot listen from the start is refused at the start."""
    with pytest.raises(BusDown):
        async with open_event_bus(island, PostgresWire(f"postgresql://varde@/varde?host={tmp_path}")):
            pass


async def test_the_death_of_the_island_ends_the_bus(bare_database_url: str) -> None:
    """A bus whose island has died does not fall silent: its block is cancelled, and says why."""

    async def stop_the_loop() -> None:
        asyncio.get_running_loop().stop()

    async def use() -> None:
        async with open_island() as island, open_event_bus(island, PostgresWire(bare_database_url)):
            with contextlib.suppress(IslandClosed):
                await island.run(stop_the_loop)
            await trio.sleep_forever()

    with trio.fail_after(30), pytest.raises(IslandClosed):
        await use()


def test_whatever_asyncpg_raises_is_a_lost_connection() -> None:
    """A server that dies at the wrong moment shows in many kinds of errors, and none of them may end a node."""
    kinds = (getattr(asyncpg.exceptions, name) for name in asyncpg.exceptions.__all__)
    errors = [kind for kind in kinds if issubclass(kind, Exception) and not issubclass(kind, Warning)]
    assert len(errors) > 100
    assert [error for error in errors if not issubclass(error, LOST)] == []
