"""Straight lines to Postgres: sockets that Trio itself reads and writes, for the one statement everybody waits for.

Where it cannot, as with TLS, there are no lines, and who wants one goes over the island like everybody else.

Why: the way over the island wakes two threads for each answer, which then wait for each other's interpreter lock. At a
thousand commits a second that cost the relay as much as everything else it did.
"""

import asyncio
import os
import socket
from typing import Any, Final

import asyncpg
import trio

from storage.island import Island
from storage.postgres import wire
from storage.postgres.pool import SETTINGS, Patience

MOST: Final = 4
"""Lines of one process. Who finds all of them busy goes over the island."""
STATEMENT: Final = b"line"
_READ_BYTES: Final = 65_536


class Line:
    """One socket, on which one statement is prepared. Whoever uses it has it alone."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        """`deadline` is the seconds for one answer."""
        self._sock = sock
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
        self._sock.close()

    async def ask(self, question: bytes) -> list[wire.Row]:
        """Send a question; return the rows of its answer. A checkpoint. Closed afterwards when there was no answer.

        Raises OSError (a TimeoutError is one) when the line is dead, and what the database says as asyncpg's error.
        """
        answer = wire.Answer()
        try:
            with trio.move_on_after(self._deadline):
                await self._send(question)
                await self._receive(answer)
        finally:
            if not answer.complete:
                self.close()
        if not answer.complete:
            raise TimeoutError("no answer on the line")
        return answer.rows()

    async def _send(self, question: bytes) -> None:
        left = memoryview(question)
        while left:
            try:
                left = left[self._sock.send(left) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._sock)

    async def _receive(self, answer: wire.Answer) -> None:
        while not answer.complete:
            await trio.lowlevel.wait_readable(self._sock)  # first: no answer is there at once
            try:
                received = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            if not received:
                raise ConnectionResetError("the database hung up")
            answer.feed(received)


class Lines:
    """The lines of one process, each with the same statement."""

    def __init__(self, island: Island, url: str, patience: Patience, question: bytes) -> None:
        """`question` prepares the statement."""
        self._island = island
        self._url = url
        self._patience = patience
        self._question = question
        self._free: list[Line] = []
        self._count = 0
        self._possible = True

    async def take(self) -> Line | None:
        """Return a line to be given back, or None when there is none to be had. Raises as `asyncpg.connect` does."""
        while self._free:
            line = self._free.pop()
            if line.fresh:
                return line
            line.close()
            self.give(line)
        if not self._possible or self._count == MOST:
            return None
        self._count += 1
        try:
            opened = await self._open()
        except BaseException:
            self._count -= 1
            raise
        if opened is None:
            self._count -= 1
            self._possible = False
        return opened

    def give(self, line: Line) -> None:
        """Take a line back, or note that it has been closed."""
        if line.closed:
            self._count -= 1
        else:
            self._free.append(line)

    def close(self) -> None:
        """Hang up on all lines that nobody uses."""
        while self._free:
            self._free.pop().close()

    async def _open(self) -> Line | None:
        sock = await self._island.run(_connect, self._url, self._patience)
        if sock is None:
            return None
        line = Line(sock, self._patience.statement)
        await line.ask(self._question)
        return line


async def _connect(url: str, patience: Patience) -> socket.socket | None:
    # Who hangs up does not cancel: the server ends by itself what nobody waits for any more.
    settings = {**SETTINGS, "statement_timeout": str(round(1_000 * patience.statement))}
    connection = await asyncpg.connect(url, timeout=patience.statement, server_settings=settings)
    try:
        async with asyncio.timeout(patience.statement):
            return await _detach(connection)
    except BaseException:
        connection.terminate()
        raise


async def _detach(connection: Any) -> socket.socket | None:
    """Take over the socket of a connection, which is closed here but not over there."""
    transport = connection._transport  # noqa: SLF001  asyncpg has no other way; nothing is under way on it
    if transport.get_extra_info("sslcontext") is not None:
        await connection.close()
        return None
    sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    sock.setblocking(False)
    transport.pause_reading()  # at once, while its end takes a turn of the loop
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    transport.abort()  # not the connection's own end, which would say good-bye
    await ended.wait()
    return sock
