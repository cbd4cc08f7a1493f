"""The bus over Postgres LISTEN/NOTIFY, which needs no further server.

A lost connection is opened again. What was published meanwhile is lost, and the listeners are told to resync.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg
import trio

from storage.bus.listeners import ListenerQueue
from storage.bus.text_bus import BusDown, Receive, Resync, refuse_misuse
from storage.database import Connection
from storage.island import Island, IslandClosed

SECONDS: Final = 1.0
CHANNEL: Final = "varde"
NOTIFY: Final = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"
LOST: Final = (
    OSError,  # a TimeoutError is one
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg says when the server dies between two steps of a statement
)

_DICE: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long the bus waits, in seconds."""

    answer: float = 5 * SECONDS  # for a connection, for a statement's end, for a sign of life
    probe: float = 5 * SECONDS  # between two questions to a silent peer whether it is still there
    first_retry: float = 0.1 * SECONDS  # at most, and a random part of it; doubled with every failure
    last_retry: float = 5 * SECONDS  # where doubling ends


@asynccontextmanager
async def open_postgres_bus(
    island: Island, url: str, *, timeouts: Timeouts | None = None
) -> AsyncIterator["PostgresBus"]:
    """A bus between all who open one on the same database. It holds one connection to listen, and one to publish.

    A pooler that lends connections by transaction cannot stand between: LISTEN belongs to a session.

    Raises:
        BusDown: at the start only; a database that goes away later is found again, without a word but `resync`.
        IslandClosed: the island has died under it. And whatever a listener raises.
    """
    with trio.CancelScope() as scope:
        queue = ListenerQueue(island, scope)
        bus = PostgresBus(island, url, timeouts or Timeouts(), queue)
        try:
            await island.run(bus.open_listening)
            yield bus
        finally:
            # A dead island has taken its connections with it.
            with trio.CancelScope(shield=True), contextlib.suppress(IslandClosed):
                await island.run(bus.aclose)
    if queue.fault is not None:
        raise queue.fault


class PostgresBus:
    """Keeps the promises of `storage.bus.text_bus.TextBus`."""

    def __init__(self, island: Island, url: str, timeouts: Timeouts, queue: ListenerQueue) -> None:
        self._island = island
        self._url = url
        self._timeouts = timeouts
        self._queue = queue
        self._listening: asyncio.Task[None] | None = None
        self._publisher: Connection | None = None
        self._turn = asyncio.Lock()
        self._closed = False
        self.connected = True
        """Whether payloads are heard now. Written on the asyncio side, read on both."""

    async def publish(self, payloads: Sequence[str]) -> None:
        """Ring for every payload, all in one transaction. A checkpoint."""
        refuse_misuse(payloads)
        await self._island.run(self._publish, list(payloads))

    def listen(self, receive: Receive, resync: Resync) -> AbstractContextManager[None]:
        """Call `receive` with every payload until the block ends."""
        return self._queue.listen(receive, resync)

    async def open_listening(self) -> None:
        """On the asyncio side: listen, from now until `aclose`."""
        try:
            connection = await self._open_listener()
        except LOST as error:
            raise BusDown("the database cannot be reached to listen") from error
        self._listening = asyncio.get_running_loop().create_task(self._keep_listening(connection))
        self._listening.add_done_callback(self._say_that_listening_ended)

    async def aclose(self) -> None:
        """On the asyncio side: close both connections."""
        self._closed = True
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait((self._listening,))  # its last step has the deadline of closing a connection
        async with self._turn:  # nobody holds it for longer than the deadline of publishing
            if self._publisher is not None:
                await self._close(self._publisher)

    async def _publish(self, payloads: list[str]) -> None:
        try:
            async with asyncio.timeout(self._timeouts.answer), self._turn:
                await self._notify_twice(payloads)
        except LOST as error:
            raise BusDown("the database cannot be reached to publish") from error

    async def _notify_twice(self, payloads: list[str]) -> None:
        """Once more on a new connection, when only the old one was dead: heard twice does no harm."""
        try:
            await self._notify(payloads)
        except LOST:
            await self._notify(payloads)

    async def _notify(self, payloads: list[str]) -> None:
        if self._closed:
            raise BusDown("the bus is closed")
        try:
            if self._publisher is None:
                self._publisher = await self._connect()
            await self._publisher.execute(NOTIFY, CHANNEL, payloads)
        except BaseException:  # cancelled, too: who was given up on may be silent, and would hold up the next one
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        if self._publisher is not None:
            self._publisher.terminate()
            self._publisher = None

    async def _keep_listening(self, connection: Connection) -> None:
        try:
            while True:
                await self._watch(connection)
                self.connected = False
                connection.terminate()  # no Terminate message: its peer may be the one that does not answer
                connection = await self._reopen_listener()
                self.connected = True
                self._queue.lose()
        finally:
            await self._close(connection)

    def _say_that_listening_ended(self, task: asyncio.Task[None]) -> None:
        """It never ends by itself: either we are closing, or the island died, or this is a bug that must be seen."""
        if not self._closed:
            fault = IslandClosed("the bus went with its island") if task.cancelled() else task.exception()
            self._island.push(self._queue.fail, fault or AssertionError("listening returned"))

    async def _watch(self, listener: Connection) -> None:
        """Return when the connection is lost. A peer that is gone without a word is found out by asking it."""
        lost = asyncio.Event()
        listener.add_termination_listener(lambda _: lost.set())
        try:
            while not (listener.is_closed() or await self._is_set_within_probe(lost)):
                await listener.execute("SELECT")
        except LOST:
            return

    async def _is_set_within_probe(self, event: asyncio.Event) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeouts.probe):
                return await event.wait()
        return False

    async def _reopen_listener(self) -> Connection:
        """Try again and again, each time after a random part of a growing pause: a herd must not come back as one."""
        pause = self._timeouts.first_retry
        while True:
            await asyncio.sleep(_DICE.uniform(0, pause))
            try:
                return await self._open_listener()
            except LOST:
                pause = min(2 * pause, self._timeouts.last_retry)

    async def _open_listener(self) -> Connection:
        connection = await self._connect()
        try:
            await connection.add_listener(CHANNEL, lambda _con, _pid, _channel, payload: self._queue.put(str(payload)))
        except BaseException:
            await self._close(connection)
            raise
        return connection

    async def _connect(self) -> Connection:
        answer = self._timeouts.answer
        # What is said here is nowhere on disk, so its commit need not wait for the disk. It would: a NOTIFY makes a
        # transaction one that changes something, whose end is written to the log like any other.
        settings = {"application_name": "varde bus", "synchronous_commit": "off"}
        return await asyncpg.connect(self._url, timeout=answer, command_timeout=answer, server_settings=settings)

    async def _close(self, connection: Connection) -> None:
        with contextlib.suppress(*LOST):
            await connection.close(timeout=self._timeouts.answer)
