"""The wire over Postgres LISTEN/NOTIFY, which needs no further server.

There is one channel, and every process hears all of it: LISTEN is cheap for the server and dear for the commits, which
take one lock for the whole cluster whatever their channel is. A lost connection is opened again.
"""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from typing import Final

import asyncpg

from storage.bus.inbox import Inbox
from storage.bus.wire import BusDown, Message, Timeouts, pack, retry_pauses
from storage.database import Connection

CHANNEL: Final = "varde"
NOTIFY: Final = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"
PAYLOAD_LIMIT: Final = 7_900  # bytes of UTF-8; Postgres refuses 8,000
LOST: Final = (
    OSError,  # a TimeoutError is one
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg says when the server dies between two steps of a statement
)


class PostgresWire:
    """Keeps the promises of `storage.bus.wire.Wire`. It holds one connection to listen, and one to publish.

    A pooler that lends connections by transaction cannot stand between: LISTEN belongs to a session.
    """

    def __init__(self, url: str, timeouts: Timeouts | None = None) -> None:
        self._url = url
        self._timeouts = timeouts or Timeouts()
        self._inbox: Inbox | None = None
        self._listening: asyncio.Task[None] | None = None
        self._publisher: Connection | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    async def open(self, inbox: Inbox) -> None:
        """Listen, from now until `aclose`. Raises BusDown."""
        self._inbox = inbox
        try:
            connection = await self._open_listener(inbox)
        except LOST as error:
            raise BusDown("the database cannot be reached to listen") from error
        self._listening = inbox.start(self._keep_listening(inbox, connection))

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish, all in one transaction."""
        texts = pack([message.event for message in messages], PAYLOAD_LIMIT)
        try:
            async with self._turn:
                await self._notify(texts)
        except LOST as error:
            raise BusDown("the database cannot be reached to publish") from error

    def subscribe(self, topics: Collection[str]) -> None:
        """Do nothing: everything is heard already."""

    def unsubscribe(self, topics: Collection[str]) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Close both connections."""
        self._closed = True
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait((self._listening,))  # its last step has the deadline of closing a connection
        async with self._turn:  # nobody holds it for longer than the deadline of publishing
            if self._publisher is not None:
                await self._close(self._publisher)

    async def _notify(self, texts: list[str]) -> None:
        if self._closed:
            raise BusDown("the bus is closed")
        try:
            if self._publisher is None:
                self._publisher = await self._connect()
            await self._publisher.execute(NOTIFY, CHANNEL, texts)
        except BaseException:  # cancelled, too: who was given up on may be silent, and would hold up the next one
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        if self._publisher is not None:
            self._publisher.terminate()
            self._publisher = None

    async def _keep_listening(self, inbox: Inbox, connection: Connection) -> None:
        try:
            while True:
                await self._watch(connection)
                inbox.report(down=True)
                connection.terminate()  # no Terminate message: its peer may be the one that does not answer
                connection = await self._reopen_listener(inbox)
                inbox.report(down=False)
                inbox.lose(None)
        finally:
            await self._close(connection)

    async def _watch(self, listener: Connection) -> None:
        """Return when the connection is lost. A peer that is gone without a word is found out by asking it."""
        # Whether it is still the primary need not be asked: one that becomes a standby restarts, which ends this
        # connection, and a standby refuses LISTEN, so the next one is at a primary again.
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

    async def _reopen_listener(self, inbox: Inbox) -> Connection:
        for pause in retry_pauses(self._timeouts):
            await asyncio.sleep(pause)
            with contextlib.suppress(*LOST):
                return await self._open_listener(inbox)
        raise AssertionError("there is always another pause")

    async def _open_listener(self, inbox: Inbox) -> Connection:
        connection = await self._connect()
        try:
            await connection.add_listener(CHANNEL, lambda _con, _pid, _channel, payload: inbox.put(str(payload)))
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
