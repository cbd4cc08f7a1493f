"""The buses that one suite judges: the double in memory, LISTEN/NOTIFY, one Valkey server and a Valkey cluster."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import trio

from domain.events import Event
from domain.ports import Bus
from settings.bus import ValkeyServers as ValkeySettings
from settings.bus import read_bus
from simulation.stores.bus import RecordingBus
from storage.bus.event_bus import open_event_bus
from storage.bus.postgres import PostgresWire
from storage.bus.valkey import ValkeyWire
from storage.bus.wire import Timeouts
from storage.database import Connection
from storage.island import Island
from tests.valkey import ValkeyServers
from varde_contract.ids import ConversationId

PATIENCE = 60
"""Seconds until an event that does not come is a failure."""
SOON = Timeouts(answer=30.0, first_retry=0.01, last_retry=0.05)
"""Back soon, and patient: on a busy machine a server that is there may take its time."""
IMPATIENT = Timeouts(answer=1.0, probe=0.05, first_retry=0.01, last_retry=0.05)
BUSES = "FROM pg_stat_activity WHERE application_name = 'varde bus' AND datname = current_database()"


class RecordingListener:
    """A listener that records what it hears, and can be waited for."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.resyncs = 0
        """How often anything may have been missed."""
        self.missed: set[ConversationId] = set()
        """Conversations about which something may have been missed."""
        self._changed = trio.Event()

    def receive(self, event: Event) -> None:
        """Record an event."""
        self.heard.append(event)
        self._change()

    def resync(self, conversations: frozenset[ConversationId] | None) -> None:
        """Record that something may have been missed."""
        if conversations is None:
            self.resyncs += 1
        else:
            self.missed |= conversations
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_until(self, met: Callable[["RecordingListener"], bool]) -> None:
        """Return when this is so."""
        with trio.fail_after(PATIENCE):
            while not met(self):
                await self._changed.wait()

    async def wait_heard(self, *events: Event) -> None:
        """Return when exactly these were heard, in this order."""
        await self.wait_until(lambda listener: len(listener.heard) >= len(events))
        assert self.heard == list(events)


async def wait_state(*buses: Bus, connected: bool) -> None:
    """Return when all of them know whether they are away."""
    with trio.fail_after(PATIENCE):
        while any(bus.connected is not connected for bus in buses):  # noqa: ASYNC110 - nothing tells of it but the property
            await trio.sleep(0.01)  # so it has to be looked at again and again


class Fleet(Protocol):
    """What the processes of a fleet have in common: a server to hang a bus on, and what a test can do to it."""

    subscribes: bool
    """Whether it takes a moment until a conversation is heard, which `resync` then tells of."""

    def open_bus(self, timeouts: Timeouts = SOON) -> AbstractAsyncContextManager[Bus]:
        """One more process."""
        ...

    async def restart(self) -> None:
        """Let every connection break, and the server be there again."""
        ...


class RealFleet(Fleet, Protocol):
    """The same on a real server, which can stand still."""

    def stalled(self) -> AbstractContextManager[None]:
        """Let nothing pass while the block runs, and close nothing."""
        ...


class MemoryFleet:
    """The double: every process has the same bus."""

    subscribes = False

    def __init__(self) -> None:
        self._bus = RecordingBus()

    @asynccontextmanager
    async def open_bus(self, timeouts: Timeouts = SOON) -> AsyncIterator[Bus]:  # noqa: ARG002 - the protocol's
        """The same for all."""
        yield self._bus

    async def restart(self) -> None:
        """Tell everybody that something may have been lost."""
        self._bus.lose_track()


class NotifyFleet:
    """LISTEN/NOTIFY on one database, with a line in front of it that can fall silent."""

    subscribes = False

    def __init__(self, island: Island, line: "Line", watcher: Connection) -> None:
        self._island = island
        self._line = line
        self._watcher = watcher

    @asynccontextmanager
    async def open_bus(self, timeouts: Timeouts = SOON) -> AsyncIterator[Bus]:
        """One more process, behind the line."""
        async with open_event_bus(self._island, PostgresWire(self._line.url, timeouts), timeouts) as bus:
            yield bus

    async def restart(self) -> None:
        """End every connection of a bus, from the server's side."""
        await self._island.run(self._watcher.execute, f"SELECT pg_terminate_backend(pid) {BUSES}")

    async def count(self) -> int:
        """How many connections the buses hold."""
        return int(await self._island.run(self._watcher.fetchval, f"SELECT count(*) {BUSES}"))

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Let the line swallow everything."""
        self._line.silent = True
        try:
            yield
        finally:
            self._line.silent = False


class ValkeyFleet:
    """Valkey, alone or as a cluster, killed and frozen for real."""

    subscribes = True

    def __init__(self, island: Island, servers: ValkeyServers) -> None:
        self._island = island
        self.servers = servers
        settings = read_bus({"VARDE_BUS_URL": servers.url})
        assert isinstance(settings, ValkeySettings)
        self.settings = settings

    @asynccontextmanager
    async def open_bus(self, timeouts: Timeouts = SOON) -> AsyncIterator[Bus]:
        """One more process."""
        async with open_event_bus(self._island, ValkeyWire(self.settings, timeouts), timeouts) as bus:
            yield bus

    async def restart(self) -> None:
        """Kill the servers, and start them again."""
        await trio.to_thread.run_sync(self.servers.kill)
        await trio.to_thread.run_sync(self.servers.start)

    def stalled(self) -> AbstractContextManager[None]:
        """Freeze the servers."""
        return self.servers.frozen()


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
