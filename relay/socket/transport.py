"""A socket with a WebSocket on it, TLS between the two where there is a certificate: bytes become messages here.

What waits is for a connection's beginning and end; in between the reactor calls the plain functions.
"""

import socket
from typing import Final

import trio

from relay.socket.framing import PING, binary_frame
from relay.socket.reactor import Reactor, Source, Waiter
from relay.socket.tls import Tls
from relay.socket.websocket import WebSocket
from varde_contract.closing import CloseCode
from varde_contract.errors import PeerFault

READ_BYTES: Final = 65_536
UNREAD_BYTES: Final = 131_072
"""What may wait when the WebSocket answers something: the largest message, and as much again of answers to pings. More,
and it is no longer a peer but a pump."""

CONNECTION_LOST: Final = (OSError, trio.ClosedResourceError)
"""The peer went without a word."""


class Transport:
    """One connection's socket, which is not blocking, and what is on its way through it."""

    __slots__ = ("_descriptor", "_eof_sent", "_reactor", "_socket", "_tls", "_waiter", "unsent", "websocket")

    def __init__(self, sock: socket.socket, reactor: Reactor, tls: Tls | None = None) -> None:
        self._socket = sock
        self._descriptor = sock.fileno()
        self._reactor = reactor
        self._waiter: Waiter | None = Waiter(reactor, self._descriptor)
        self._tls = tls
        self.unsent = b""
        """What the kernel has refused and has to go first: as long as there is any, nothing more is sealed."""
        self._eof_sent = False
        self.websocket = WebSocket()

    @property
    def shaking(self) -> bool:
        """Whether TLS has begun, and is not established yet."""
        return self._tls is not None and self._tls.begun and not self._tls.established

    def hand_over(self, source: Source) -> None:
        """Let somebody else be told from now on when there is something to read."""
        self._waiter = None
        self._reactor.add(self._descriptor, source)

    def watch(self, *, reading: bool) -> None:
        """Let them be told of what there is to read, and of room for what the kernel has refused."""
        self._reactor.watch(self._descriptor, reading=reading, writing=bool(self.unsent))

    def take_back(self) -> None:
        """Read again here."""
        self._waiter = Waiter(self._reactor, self._descriptor)

    def read_nowait(self) -> bool:
        """Read once; False when there was nothing to read. To be followed by `answer`. Raises BROKEN."""
        try:
            received = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return False
        if self._tls is None:
            self.websocket.feed(received)
        else:
            self._read_tls(self._tls, received)
        return True

    def send(self, message: bytes, *, more: bool = False) -> bool:
        """Write a message; False when the kernel does not take all of it. Raises BROKEN.

        With `more`, the kernel may wait with it for what is written next, but no longer than 0.2 s (send(2), MSG_MORE).
        """
        written = binary_frame(message)
        if self._tls is not None or self.unsent:
            return self._write(written)
        # The same as `_write` for nearly all there is to write: calls are what costs here.
        try:
            sent = self._socket.send(written, socket.MSG_MORE) if more else self._socket.send(written)
        except BlockingIOError:
            sent = 0
        if sent == len(written):
            return True
        self.unsent = written[sent:]
        return False

    def ping(self) -> bool:
        """Write a ping; False when the kernel does not take all of it. Raises BROKEN."""
        return self._write(PING)

    def answer(self) -> None:
        """Write what the WebSocket says by itself: pongs, its close frame, and HTTP.

        Raises BROKEN, and PeerFault when the peer does not read what it made us say.
        """
        if self.websocket.pending:
            said = self.websocket.take_bytes()
            if not self._eof_sent:
                self._write(said)
            if len(self.unsent) > UNREAD_BYTES:
                raise PeerFault("the peer does not read", CloseCode.SLOW_CONSUMER)

    def push(self) -> None:
        """Write on what the kernel had refused. Raises BROKEN."""
        if self.unsent:
            waiting, self.unsent = self.unsent, b""
            self._put(waiting)

    async def read(self) -> list[bytes]:
        """Read once, and return the whole messages there are now; the end shows in `websocket.open`.

        Raises what `read_nowait` does.
        """
        assert self._waiter is not None
        await self._waiter.wait()  # the deadline is the caller's
        self.read_nowait()
        self.answer()
        return self.websocket.take_messages()

    async def flush(self) -> None:
        """Write what waits to its end, and the end of the stream where it has come. Raises BROKEN."""
        self.answer()
        await self._drain()
        if self.websocket.wants_eof and not self._eof_sent:
            self._eof_sent = True
            if self._tls is not None:
                self._put(self._tls.close())
                await self._drain()
            self._socket.shutdown(socket.SHUT_WR)

    async def linger(self) -> None:
        """Read on until the peer is done, so that what was written last is not lost to a reset (RFC 9293 3.10.7.4)."""
        while not self.websocket.finished:
            await self.read()
        await self.flush()  # our end of the stream, when the peer's close frame was what it waited for

    def close(self) -> None:
        """Close the socket."""
        self._reactor.remove(self._descriptor)
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()

    async def _drain(self) -> None:
        while self.unsent:
            await trio.lowlevel.wait_writable(self._socket)  # the deadline is the caller's
            self.push()

    def _read_tls(self, tls: Tls, received: bytes) -> None:
        try:
            plaintext = tls.receive(received)
        finally:
            self._put(tls.take_bytes())  # of a fault, too: the alert says what was wrong
        if plaintext:
            self.websocket.feed(plaintext)
        # A request that came in one read with the goodbye is answered first; the next read finds the end.
        if tls.ended and not (plaintext and self.websocket.request):
            self.websocket.feed(b"")

    def _write(self, written: bytes) -> bool:
        if self._tls is not None:
            written = self._tls.seal(written)
        return self._put(written)

    def _put(self, written: bytes) -> bool:
        """Write, behind what waits; whether the kernel has all of it."""
        if self.unsent:
            self.unsent += written
            return False
        if not written:
            return True
        try:
            sent = self._socket.send(written)
        except BlockingIOError:
            sent = 0
        if sent == len(written):
            return True
        self.unsent = written[sent:]
        return False
