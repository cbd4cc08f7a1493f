"""The bus over LISTEN/NOTIFY: the contract, and what only a bus with connections can promise."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest
import trio

from storage.bus.postgres import LOST, Timeouts, open_postgres_bus
from storage.bus.text_bus import BusDown, TextBus
from storage.database import Connection
from storage.island import Island, IslandClosed, open_island
from tests.storage.bus.contract import CONTRACT, BusNetwork, RecordingListener
from tests.storage.conftest import Connect

SOON = Timeouts(first_retry=0.001, last_retry=0.01)
BUSES = "FROM pg_stat_activity WHERE application_name = 'varde bus' AND datname = current_database()"


class Database:
    """Nodes with a bus on the same database, and a connection from which to watch and disturb them."""

    def __init__(self, island: Island, url: str, watcher: Connection) -> None:
        self.island = island
        self._url = url
        self._watcher = watcher

    def open_bus(self) -> AbstractAsyncContextManager[TextBus]:
        """One more node."""
        return open_postgres_bus(self.island, self._url, timeouts=SOON)

    async def cut(self) -> None:
        """End every connection of a bus, from the server's side."""
        await self.island.run(self._watcher.execute, f"SELECT pg_terminate_backend(pid) {BUSES}")

    async def count(self) -> int:
        """How many connections the buses hold."""
        return int(await self.island.run(self._watcher.fetchval, f"SELECT count(*) {BUSES}"))


@pytest.fixture
async def database(island: Island, connect: Connect, bare_database_url: str) -> Database:
    """A database of the test's own."""
    return Database(island, bare_database_url, await connect(bare_database_url))


@pytest.mark.parametrize("promise", CONTRACT)
async def test_the_contract_is_kept(database: Database, promise: Callable[[BusNetwork], Awaitable[None]]) -> None:
    """The promise, as its own words say, is kept over LISTEN/NOTIFY."""
    await promise(database)


async def test_a_bus_holds_two_connections_and_leaves_none(database: Database) -> None:
    """One listens, one publishes, however much is done; after the block both are gone."""
    listener = RecordingListener()
    async with database.open_bus() as bus:
        assert await database.count() == 1
        with bus.listen(listener.receive, listener.resync):
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(bus.publish, [str(number)])
        assert await database.count() == 2
    while await database.count():
        await trio.lowlevel.checkpoint()


async def test_a_bus_cancelled_at_once_leaves_no_connection(database: Database) -> None:
    """Cancelled while it opens, or right after, a bus clears up behind itself."""
    for steps in range(20):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_after, steps, scope)
                async with database.open_bus():
                    scope.cancel()
    while await database.count():
        await trio.lowlevel.checkpoint()


async def _cancel_after(steps: int, scope: trio.CancelScope) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def test_a_publisher_survives_the_loss_of_its_connection(database: Database) -> None:
    """The first call after the connection was lost is heard as well: it is tried once more on a new one."""
    listener = RecordingListener()
    async with database.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync):
            await bus.publish(["before"])
            await listener.wait_heard("before")
            await database.cut()
            await listener.wait_until(lambda listener: listener.resyncs == 1)
            await bus.publish(["after"])
            await listener.wait_heard("before", "after")


async def test_a_bus_knows_when_it_hears_nothing(database: Database, connect: Connect, bare_database_url: str) -> None:
    """From the loss of its connection until it has another one; readiness asks for it."""
    parts = urlsplit(bare_database_url)
    elsewhere = await connect(parts._replace(path="/postgres").geturl())

    async def admit(*, connections: bool) -> None:
        door = f'ALTER DATABASE "{parts.path[1:]}" ALLOW_CONNECTIONS {connections}'
        await database.island.run(elsewhere.execute, door)

    listener = RecordingListener()
    async with database.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync):
            said = [bus.connected]
            await admit(connections=False)
            await database.cut()
            while bus.connected:  # noqa: ASYNC110 - the other side's loss
                await trio.sleep(0.01)
            await admit(connections=True)
            await listener.wait_until(lambda listener: listener.resyncs == 1)
            assert [*said, bus.connected] == [True, True]


async def test_a_cancelled_publish_harms_no_other(database: Database) -> None:
    """Calls cancelled half-way leave the shared connection fit for the next."""
    listener = RecordingListener()
    async with database.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync):
            for number in range(50):
                with trio.move_on_after(0.0001 * number):
                    await bus.publish(["perhaps"])
            await bus.publish(["surely"])
            await listener.wait_until(lambda listener: listener.heard[-1:] == ["surely"])


async def test_without_a_database_there_is_no_bus(island: Island, tmp_path: Path) -> None:
    """A bus that cannot listen from the start is refused at the start."""
    with pytest.raises(BusDown):
        async with open_postgres_bus(island, f"postgresql://varde@/varde?host={tmp_path}"):
            pass


async def test_the_death_of_the_island_ends_the_bus(bare_database_url: str) -> None:
    """A bus whose island has died does not fall silent: its block is cancelled, and says why."""

    async def stop_the_loop() -> None:
        asyncio.get_running_loop().stop()

    async def use() -> None:
        async with open_island() as island, open_postgres_bus(island, bare_database_url):
            with contextlib.suppress(IslandClosed):
                await island.run(stop_the_loop)
            await trio.sleep_forever()

    with trio.fail_after(30), pytest.raises(IslandClosed):
        await use()


class Line:
    """A Unix socket in front of Postgres that passes everything on, until it is told to swallow it."""

    def __init__(self, folder: Path, url: str) -> None:
        parts = urlsplit(url)
        (host,) = parse_qs(parts.query).get("host", [""])
        if not host.startswith("/"):
            pytest.skip("VARDE_TEST_DATABASE_URL names no Unix socket, in front of which a line could stand")
        self.silent = False
        self.url = parts._replace(query=f"host={quote(str(folder))}&port=5432").geturl()
        self._folder = folder
        self._server = f"{host}/.s.PGSQL.5432"

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Pass on, in both directions, as long as the block runs."""
        with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM) as listening:
            await listening.bind(f"{self._folder}/.s.PGSQL.5432")
            listening.listen()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._pass_on, [trio.SocketListener(listening)])
                yield
                nursery.cancel_scope.cancel()

    async def _pass_on(self, client: trio.SocketStream) -> None:
        async with await trio.open_unix_socket(self._server) as server, trio.open_nursery() as nursery:
            nursery.start_soon(self._copy, client, server)
            nursery.start_soon(self._copy, server, client)

    async def _copy(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for chunk in source:
                if not self.silent:
                    await sink.send_all(chunk)
            await sink.aclose()


async def test_a_silent_peer_is_noticed(island: Island, bare_database_url: str, tmp_path: Path) -> None:
    """A peer that is gone without closing anything is found out by its silence, and the bus comes back when it can."""
    line, listener = Line(tmp_path, bare_database_url), RecordingListener()
    impatient = Timeouts(answer=1.0, probe=0.01, first_retry=0.001, last_retry=0.01)
    async with line.connected(), open_postgres_bus(island, line.url, timeouts=impatient) as bus:
        with bus.listen(listener.receive, listener.resync):
            await bus.publish(["before"])
            await listener.wait_heard("before")
            line.silent = True
            with pytest.raises(BusDown):
                await bus.publish(["into the void"])
            line.silent = False
            await listener.wait_until(lambda listener: listener.resyncs > 0)
            await bus.publish(["after"])
            await listener.wait_until(lambda listener: "after" in listener.heard)


def test_whatever_asyncpg_raises_is_a_lost_connection() -> None:
    """A server that dies at the wrong moment shows in many kinds of errors, and none of them may end a node."""
    kinds = (getattr(asyncpg.exceptions, name) for name in asyncpg.exceptions.__all__)
    errors = [kind for kind in kinds if issubclass(kind, Exception) and not issubclass(kind, Warning)]
    assert len(errors) > 100
    assert [error for error in errors if not issubclass(error, LOST)] == []
