"""Connections to Postgres that Trio itself reads and writes, for the one statement that everybody waits for: commits.

The way over the island wakes two threads for each answer, which then wait for each other's interpreter lock. At a
thousand commits a second that cost the relay as much as everything else it did. asyncpg connects and authenticates on
the island; then the socket, and its TLS (`storage/postgres/island_tls.py`), go over to Trio.
"""

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any, Final

import asyncpg
import trio

from storage.island import Island
from storage.postgres import protocol
from storage.postgres.island_tls import TlsLoop, TlsTransport
from storage.postgres.pool import SETTINGS, Check, Timeouts
from tls.connection import Tls, TlsFault

CONNECTIONS_MAX: Final = 4
"""Of one process. Who finds all of them busy goes over the island."""
STATEMENT: Final = b"commit"
"""The name of the prepared statement, on each of these connections."""
_READ_BYTES: Final = 65_536


class TrioConnection:
    """One socket, on which one statement is prepared. Whoever uses it has it alone."""

    def __init__(self, sock: socket.socket, tls: Tls | None, deadline: float) -> None:
        """`tls` is that of the socket, past its handshake; `deadline` is the seconds for one answer."""
        self._sock = sock
        self._tls = tls
        self._deadline = deadline
        self.closed = False

    @property
    def fresh(self) -> bool:
        """Whether nothing has come unasked: neither the end, nor the announcement of one."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Hang up. What was asked may still happen over there."""
        self.closed = True
        if self._tls is not None:
            with suppress(OSError):  # close_notify: without it, Postgres writes of an error into its log
                self._sock.send(self._tls.close())
        self._sock.close()

    async def ask(self, query: bytes) -> list[protocol.Row]:
        """Send a query; return the rows of its answer. A checkpoint. Closed afterwards when there was no answer.

        Raises OSError (a TimeoutError is one) when the connection is dead, and asyncpg's error for a refused query.
        """
        answer = protocol.Answer()
        try:
            with trio.move_on_after(self._deadline):
                await self._send(query)
                await self._receive(answer)
        finally:
            # Otherwise the rest of this answer would be read as that of the next question: acks for messages that were
            # never stored.
            if not answer.complete:
                self.close()
        if not answer.complete:
            raise TimeoutError("no answer on the connection")
        return answer.rows()

    async def _send(self, query: bytes) -> None:
        left = memoryview(query if self._tls is None else self._tls.seal(query))
        while left:
            try:
                left = left[self._sock.send(left) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._sock)

    async def _receive(self, answer: protocol.Answer) -> None:
        while not answer.complete:
            await trio.lowlevel.wait_readable(self._sock)  # first: no answer is there at once
            try:
                received = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            answer.feed(received if self._tls is None else self._open(self._tls, received))
            if not received or (self._tls is not None and self._tls.ended):
                raise ConnectionResetError("the database hung up")

    def _open(self, tls: Tls, received: bytes) -> bytes:
        try:
            plaintext = tls.receive(received)
        except TlsFault as fault:
            raise ConnectionResetError(f"TLS to the database broke: {fault}") from None
        if reply := tls.take_bytes():  # new keys, when the server wants some: rare, and small enough for any buffer
            self._sock.send(reply)
        return plaintext


class TrioConnections:
    """The connections of one process, each with the same statement."""

    def __init__(self, island: Island, url: str, timeouts: Timeouts, query: bytes, check: Check | None = None) -> None:
        """`query` prepares the statement; `check` sees each connection before it is used."""
        self._check = check
        self._island = island
        self._url = url
        self._timeouts = timeouts
        self._query = query
        self._free: list[TrioConnection] = []
        self._count = 0

    async def take(self) -> TrioConnection | None:
        """Return a connection, to be given back, or None when all are taken. Raises as `asyncpg.connect` does."""
        while self._free:
            connection = self._free.pop()
            if connection.fresh:
                return connection
            connection.close()
            self.give(connection)
        if self._count == CONNECTIONS_MAX:
            return None
        self._count += 1  # before the first checkpoint, at which others may come and count
        try:
            return await self._open()
        except BaseException:
            self._count -= 1
            raise

    def give(self, connection: TrioConnection) -> None:
        """Take a connection back, or note that it has been closed."""
        if connection.closed:
            self._count -= 1
        else:
            self._free.append(connection)

    def close(self) -> None:
        """Hang up on all connections that nobody uses."""
        while self._free:
            self._free.pop().close()

    async def _open(self) -> TrioConnection:
        sock, tls = await self._island.run(_connect, self._url, self._timeouts, self._check)
        connection = TrioConnection(sock, tls, self._timeouts.statement)
        await connection.ask(self._query)
        return connection


async def _connect(url: str, timeouts: Timeouts, check: Check | None) -> tuple[socket.socket, Tls | None]:
    # We hang up without a cancel request: the server ends by itself what nobody waits for any more.
    settings = {**SETTINGS, "statement_timeout": str(round(1_000 * timeouts.statement))}
    loop: Any = TlsLoop(asyncio.get_running_loop())
    try:
        connection = await asyncpg.connect(url, loop=loop, timeout=timeouts.statement, server_settings=settings)
    except asyncpg.ConnectionDoesNotExistError as error:
        raise error.__cause__ or error from None  # itself, it only says that the connection was closed
    try:
        async with asyncio.timeout(timeouts.statement):
            if check is not None:
                await check(connection)
            return await _detach(connection)
    except BaseException:
        connection.terminate()
        raise


async def _detach(connection: Any) -> tuple[socket.socket, Tls | None]:
    """Take over the socket of a connection, which is closed here but not over there."""
    transport = connection._transport  # noqa: SLF001  asyncpg has no other way; nothing is under way on it
    # A second descriptor of the same connection. asyncpg closes the first, which Postgres does not notice.
    sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    sock.setblocking(False)
    transport.pause_reading()  # at once, while its end takes a turn of the loop
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    transport.abort()  # not connection.close(), which would end the session with a Terminate message
    await ended.wait()
    return sock, transport.tls if isinstance(transport, TlsTransport) else None
