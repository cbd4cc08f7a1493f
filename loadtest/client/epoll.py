"""The load rooms' epoll engine: many non-blocking connections in one thread, driven by a loop or by gevent."""

import errno
import os
import select
import ssl
import time
from _socket import socket as KernelSocket  # noqa: N812 - a class: gevent replaces `socket.socket`, which would block a greenlet
from collections.abc import Callable
from contextlib import suppress
from socket import AF_INET, IPPROTO_IP, IPPROTO_TCP, SO_ERROR, SO_RCVBUF, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY
from typing import Final, TypeAlias
from typing import Protocol as TypingProtocol

from loadtest.client.websocket import ServerFault

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
HANGUP: Final = select.EPOLLRDHUP
EVENTS: Final = 256  # served in one pass; then whoever sends on time gets a turn
FAULT: Final = "fault"
READ_BYTES: Final = 262_144
_WRITE_BYTES: Final = 262_144
_SLOW_BUFFER: Final = 4_096
"""The kernel doubles it (socket(7))."""
_WIDE_BUFFER: Final = 1 << 20
_TLS_BYTES: Final = 65_536
# IP_BIND_ADDRESS_NO_PORT of Linux, for which Python has no name: the port is chosen when the peer is known, so that
# one local port serves several peers.
_BIND_ADDRESS_NO_PORT: Final = 24
_NOTHING: Final = bytearray()  # stands for nothing unsent in all connections; nobody adds to it
_WORDS: Final = dict.fromkeys((errno.ECONNRESET, errno.EPIPE), "reset") | {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
}
Address: TypeAlias = tuple[str | int, ...]


class Protocol(TypingProtocol):
    """What speaks on a connection, sans-I/O."""

    __slots__ = ()

    def open(self) -> bytes:
        """Return what to send when TCP, and TLS where there is some, is there."""

    def receive(self, received: bytes) -> bytes:
        """Take what was read, nothing for the end. Return what to send. Raises to who called `Engine.poll`."""

    def lost(self, reason: str) -> None:
        """It broke without an end: refused, reset, timeout, fault for TLS, or the name of an errno."""


def _open_epoll() -> "select.epoll":
    if hasattr(select, "epoll"):
        return select.epoll()
    # Monkey-patching takes epoll away, so that nobody blocks in it. Here nobody does: it is asked when it is ready.
    from gevent import monkey  # noqa: PLC0415 - only where gevent is

    opened: select.epoll = monkey.get_original("select", "epoll")()
    return opened


class Engine:
    """Tells connections that their sockets are ready. Open it before the sockets and close it after them."""

    def __init__(self, on_error: "Callable[[Connection], None] | None" = None) -> None:
        """`on_error` is called inside `except` for what a protocol raised; without it, that is raised by `poll`."""
        self.epoll = _open_epoll()
        self._on_error = on_error
        self.connections: dict[int, Connection] = {}  # by file descriptor
        self.now = time.monotonic()  # seconds, read once a pass and by whoever keeps time

    @property
    def file(self) -> int:
        """The descriptor that is readable when `poll` has something to do."""
        return self.epoll.fileno()

    def poll(self, wait: float = 0.0) -> None:
        """Serve what is ready, after waiting so many seconds for the first at most."""
        if wait > 0:
            # epoll itself waits in whole milliseconds; its descriptor is a low one, so select may look at it.
            select.select((self.epoll,), (), (), wait)
        self.now = time.monotonic()
        connections = self.connections
        for file, mask in self.epoll.poll(0, EVENTS):
            connection = connections.get(file)  # None: closed earlier in this pass
            if connection is None:
                continue
            try:
                connection.on_event(mask)
            except Exception:
                if self._on_error is None:
                    raise
                self._on_error(connection)

    def close(self) -> None:
        """Close all connections, without a word to their protocols, and the engine."""
        for connection in list(self.connections.values()):
            connection.close()
        self.epoll.close()


class Connection:
    """TCP, perhaps TLS, on a socket that never blocks."""

    __slots__ = ("_connecting", "_engine", "_file", "_mask", "_sock", "_tls", "_unsent", "heard_at", "protocol")

    def __init__(self, engine: Engine, protocol: Protocol) -> None:
        self._engine = engine
        self._tls: _Tls | None = None
        self._unsent = _NOTHING
        self._file, self._mask = -1, READ | WRITE
        self._connecting = True
        self.protocol = protocol
        self.heard_at = engine.now  # when something was read last, in the engine's seconds

    def connect(
        self,
        address: Address,
        *,
        family: int = AF_INET,
        source: str | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "",
        slow: bool = False,
    ) -> None:
        """Begin; what goes wrong is told to the protocol, perhaps before this returns.

        `source` is a local address, `host` the name on the certificate. With `slow`, the kernel keeps little of what
        was not read.
        """
        try:
            self._sock: KernelSocket = (sock := KernelSocket(family, SOCK_STREAM))
            sock.setblocking(False)
            self._engine.epoll.register(sock.fileno(), self._mask)  # errors and the end are always told
            self._file = sock.fileno()
            self._engine.connections[self._file] = self
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # Nagle would hold a message until the one before is acked
            if slow:
                sock.setsockopt(SOL_SOCKET, SO_RCVBUF, _SLOW_BUFFER)
            if source is not None:
                sock.setsockopt(IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
            if tls is not None:
                self._tls = _Tls(tls, host)
            failed = sock.connect_ex(address)
            if failed not in {0, errno.EINPROGRESS}:
                self._lose(_word(failed))
        except OSError as failure:  # of TLS as well
            self._lose(_word(failure.errno))

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._unsent)

    def send(self, octets: bytes) -> None:
        """Send. What the kernel does not take now is kept until it does."""
        self._push(octets if self._tls is None else self._tls.seal(octets))

    def close(self) -> None:
        """Close the socket. The protocol is not told."""
        if self._file >= 0:
            del self._engine.connections[self._file]
            self._engine.epoll.unregister(self._file)
            self._file = -1
            with suppress(OSError):
                self._sock.close()
        self._unsent = _NOTHING
        self._tls = None

    def watch(self, mask: int) -> None:
        """Look out for this: READ, or HANGUP for the end alone, or 0; and for when what is unsent can be sent."""
        self._mask = mask | WRITE if self._unsent else mask
        if self._file >= 0:
            self._engine.epoll.modify(self._file, self._mask)

    def widen(self) -> None:
        """Let the kernel keep as much as for anybody: from now on the socket is read as it comes."""
        if self._file >= 0:
            self._sock.setsockopt(SOL_SOCKET, SO_RCVBUF, _WIDE_BUFFER)
            self.watch(READ)

    def on_event(self, mask: int) -> None:
        """The kernel has something for us, or takes something."""
        if mask & WRITE and not self._connecting:
            self._flush()
        elif mask & WRITE:
            failed = self._sock.getsockopt(SOL_SOCKET, SO_ERROR)
            if failed:
                self._lose(_word(failed))
                return
            self._connecting = False
            self.watch(READ)
            self._push(self.protocol.open() if self._tls is None else self._tls.take())
        if mask & ~WRITE and self._file >= 0:
            self.read()

    def read(self, most: int = READ_BYTES) -> None:
        """Read once, and hand it on. What is left makes the socket ready again, and others get a turn before."""
        try:
            received = self._sock.recv(most)
        except BlockingIOError:
            return
        except OSError as failure:
            self._lose(_word(failure.errno))
            return
        self.heard_at = self._engine.now
        if self._tls is not None and received:
            received = self._decrypt(self._tls, received)
            if not received:
                return
        reply = self.protocol.receive(received)
        if self._file >= 0:
            if reply:
                self.send(reply)
            if not received:
                self.close()  # a socket that has ended stays readable for ever

    def _decrypt(self, tls: "_Tls", received: bytes) -> bytes:
        shaken = tls.shaken
        try:
            plain = tls.feed(received)
        except ServerFault:
            self._lose(FAULT)
            return b""
        if reply := tls.take():
            self._push(reply)
        if tls.shaken and not shaken:
            self.send(self.protocol.open())
        return plain

    def _flush(self) -> None:
        unsent = self._unsent
        try:
            while unsent:
                with memoryview(unsent) as view:
                    sent = self._sock.send(view[:_WRITE_BYTES])
                del unsent[:sent]
        except BlockingIOError:
            return
        except OSError:
            pass  # how it ended, the next read says; before that there may be a close frame
        self._unsent = _NOTHING
        self.watch(self._mask & ~WRITE)

    def _push(self, octets: bytes) -> None:
        if self._file < 0:
            return
        if self._unsent:
            self._unsent += octets
            return
        sent = 0
        try:
            sent = self._sock.send(octets)
        except BlockingIOError:
            pass
        except OSError:
            return  # how it ended, the next read says; before that there may be a close frame
        if sent < len(octets):
            self._unsent = bytearray(octets[sent:])
            self.watch(self._mask)

    def _lose(self, reason: str) -> None:
        self.close()
        self.protocol.lost(reason)


class _Tls:
    """TLS of one connection in memory: `take` is what must be sent for TLS's own sake.

    On the socket itself OpenSSL reads head and body of each record by a system call of its own, which cost the load
    8 % more CPU for a message.
    """

    __slots__ = ("_incoming", "_outgoing", "_tls", "shaken")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.shaken = False
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()

    def take(self) -> bytes:
        """Return what is to be sent now."""
        return self._outgoing.read()

    def seal(self, plain: bytes) -> bytes:
        """Return the records for these bytes. Only once `shaken`."""
        self._tls.write(plain)
        return self._outgoing.read()

    def feed(self, received: bytes) -> bytes:
        """Take what came and return what it says. Raises ServerFault."""
        self._incoming.write(received)
        plain = []
        try:
            if not self.shaken:
                self._tls.do_handshake()
                self.shaken = True
            while piece := self._tls.read(_TLS_BYTES):
                plain.append(piece)
        # Of a record, or of the handshake, a part is still missing.
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as failure:
            raise ServerFault(f"TLS failed: {failure.reason}") from None
        return b"".join(plain)


def _word(number: int | None) -> str:
    """Return what an errno means for a connection."""
    if number is None:
        return FAULT
    return _WORDS.get(number) or errno.errorcode.get(number, os.strerror(number)).lower()
