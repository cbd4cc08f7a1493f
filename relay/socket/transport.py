"""A socket with HTTP and then a WebSocket on it, with TLS in between if the node has a certificate.

Coroutines are for a connection's beginning and end. In between, the reactor calls the plain functions.
"""

import socket
from typing import Final, Protocol

import trio

from relay.socket.framing import PING, binary_frame
from relay.socket.http_upgrade import HttpUpgrade
from relay.socket.reactor import Reactor, Source, Waiter
from relay.socket.websocket import WebSocket
from tls.connection import Tls
from varde_contract.close_codes import CloseCode
from varde_contract.errors import PeerFault

READ_BYTES: Final = 65_536
UNREAD_BYTES: Final = 131_072
"""What may wait to be written when the WebSocket answers: the largest message, and as much again of pongs. A peer with
more only makes us write."""

CONNECTION_LOST: Final = (OSError, trio.ClosedResourceError)
"""The peer is gone without a close frame."""


class ByteProtocol(Protocol):
    """What HTTP and the WebSocket have in common."""

    wants_eof: bool

    @property
    def pending(self) -> int:
        """Bytes that `take_bytes` would return."""

    @property
    def finished(self) -> bool:
        """Whether the peer has nothing more to say."""

    def feed(self, received: bytes) -> None:
        """Take in what came; an empty one is the end."""

    def take_bytes(self) -> bytes:
        """Return what is to be written now."""


class Transport:
    """One connection's socket, which is non-blocking, and what is on its way through it."""

    __slots__ = (
        "_descriptor",
        "_eof_sent",
        "_protocol",
        "_reactor",
        "_socket",
        "_tls",
        "_waiter",
        "http",
        "unsent",
        "websocket",
    )

    def __init__(self, sock: socket.socket, reactor: Reactor, tls: Tls | None = None) -> None:
        self._socket = sock
        self._descriptor = sock.fileno()
        self._reactor = reactor
        self._waiter: Waiter | None = Waiter(reactor, self._descriptor)
        self._tls = tls
        self._eof_sent = False
        self.unsent = b""
        """What the kernel did not take. It goes first: nothing more is encrypted until it is gone."""
        self.http: HttpUpgrade | None = HttpUpgrade()
        """Until `upgrade`."""
        self.websocket = WebSocket()
        """From `upgrade` on."""
        self._protocol: ByteProtocol = self.http

    @property
    def tls_handshaking(self) -> bool:
        """Whether TLS has begun, and is not established yet."""
        return self._tls is not None and self._tls.begun and not self._tls.established

    def upgrade(self) -> None:
        """Go on as a WebSocket after its request was answered. Raises what `answer` does."""
        assert self.http is not None
        self.answer()
        http, self.http, self._protocol = self.http, None, self.websocket
        if http.rest:
            self.websocket.feed(bytes(http.rest))

    def hand_over(self, source: Source) -> None:
        """Have the reactor tell somebody else when there is something to read."""
        self._waiter = None
        self._reactor.add(self._descriptor, source)

    def watch(self, *, reading: bool) -> None:
        """Tell them of something to read, and of room for what the kernel did not take."""
        self._reactor.watch(self._descriptor, reading=reading, writing=bool(self.unsent))

    def take_back(self) -> None:
        """Read here again."""
        self._waiter = Waiter(self._reactor, self._descriptor)

    def read_nowait(self) -> bool:
        """Read once; False when there was nothing to read. To be followed by `answer`. Raises CONNECTION_LOST."""
        try:
            received = self._socket.recv(READ_BYTES)
        # Linux may call a socket readable that is not (select(2), BUGS), and a task that waited looks again on its own.
        except BlockingIOError:
            return False
        if self._tls is None:
            self._protocol.feed(received)
        else:
            self._read_tls(self._tls, received)
        return True

    def send(self, message: bytes, *, more: bool = False) -> bool:
        """Write a message; False when the kernel does not take all of it. Raises CONNECTION_LOST.

        With `more`, the kernel may hold it back for what is written next, but no longer than 0.2 s (send(2), MSG_MORE).
        """
        written = binary_frame(message)
        if self._tls is not None or self.unsent:
            return self._write(written)
        # The same as `_write`, for nearly all messages: a call costs as much as the rest of it.
        try:
            sent = self._socket.send(written, socket.MSG_MORE) if more else self._socket.send(written)
        except BlockingIOError:
            sent = 0
        if sent == len(written):
            return True
        self.unsent = written[sent:]
        return False

    def ping(self) -> bool:
        """Write a ping; False when the kernel does not take all of it. Raises CONNECTION_LOST."""
        return self._write(PING)

    def close_protocol(self, code: int, reason: str = "") -> None:
        """Have the peer told that this is the end: with a close frame, or with the answer to an incomplete request."""
        if self.http is None:
            self.websocket.close(code, reason)
        else:
            self.http.give_up()

    def answer(self) -> None:
        """Write what HTTP or the WebSocket answers by itself: responses, pongs, its close frame.

        Raises CONNECTION_LOST, and PeerFault when the peer does not read what it made us write.
        """
        protocol = self._protocol
        if protocol.pending:
            written = protocol.take_bytes()
            # After the end of our stream a pong or an answer would be an error of the socket (EPIPE).
            if not self._eof_sent:
                self._write(written)
            if len(self.unsent) > UNREAD_BYTES:
                raise PeerFault("the peer does not read", CloseCode.SLOW_CONSUMER)

    def push(self) -> None:
        """Write again what the kernel did not take. Raises CONNECTION_LOST."""
        if self.unsent:
            waiting, self.unsent = self.unsent, b""
            self._put(waiting)

    async def read(self) -> list[bytes]:
        """Read once, and return the whole messages there are now; the end shows in `websocket.open`.

        Raises what `read_nowait` and `answer` do.
        """
        assert self._waiter is not None
        await self._waiter.wait()  # the deadline is the caller's
        self.read_nowait()
        self.answer()
        return self.websocket.take_messages()

    async def flush(self) -> None:
        """Write everything that waits, and the end of the stream if it has come. Raises what `answer` does."""
        self.answer()
        await self._drain()
        if self._protocol.wants_eof and not self._eof_sent:
            self._eof_sent = True
            if self._tls is not None:
                self._put(self._tls.close())
                await self._drain()
            self._socket.shutdown(socket.SHUT_WR)

    async def linger(self) -> None:
        """Read until the peer is done: closing with unread data would reset the stream, and lose what was written last.

        RFC 9293 section 3.10.7.4.
        """
        while not self._protocol.finished:
            await self.read()
        await self.flush()  # our end of the stream, if it waited for the peer's close frame

    def close(self) -> None:
        """Close the socket."""
        # First: once it is closed, its number may be that of a new connection, which would be removed in its place.
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
            self._put(tls.take_bytes())  # after a fault, too: the alert says what was wrong
        if plaintext:
            self._protocol.feed(plaintext)
        # A request that came in the same read as close_notify is answered first; the next read finds the end.
        if tls.ended and not (plaintext and self.http is not None and self.http.request):
            self._protocol.feed(b"")

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
