"""The load rooms' one epoll engine: many non-blocking connections in one thread, driven by a loop or by gevent.

Who only measures calls `Engine.poll` in a loop of its own. Under gevent the loop waits for `Engine.file` instead.
"""

import errno
import os
import select
import ssl
import time
from _socket import socket as _KernelSocket  # noqa: N812 - a class
from collections.abc import Callable
from contextlib import suppress
from socket import AF_INET, IPPROTO_IP, IPPROTO_TCP, SO_ERROR, SO_RCVBUF, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY
from typing import Any, Final, TypeAlias
from typing import Protocol as TypingProtocol

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
HANGUP: Final = select.EPOLLRDHUP
EVENTS: Final = 256  # served in one pass; then whoever sends on time gets a turn
FAULT: Final = "fault"
EOF: Final = "eof"
READ_BYTES: Final = 262_144
_WRITE_BYTES: Final = 262_144
_SLOW_BUFFER: Final = 4_096
_WIDE_BUFFER: Final = 1 << 20
_RECORDS: Final = 64  # of TLS, that one pass reads
_BIND_ADDRESS_NO_PORT: Final = 24
"""IP_BIND_ADDRESS_NO_PORT of Linux, for which Python has no name: the port is chosen when the peer is known, so that
one local port serves several peers."""
_NOTHING: Final = bytearray()  # stands for nothing unsent in all connections; nobody adds to it
_AGAIN: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_WORDS: Final = dict.fromkeys((errno.ECONNRESET, errno.EPIPE), "reset") | {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
}
Address: TypeAlias = tuple[str | int, ...]


class Socket(_KernelSocket):
    """gevent replaces `socket.socket`, which would block a greenlet. TLS wants one that can be referred to weakly."""

    __slots__ = ("__weakref__",)


class Protocol(TypingProtocol):
    """What speaks on a connection, sans-I/O."""

    def open(self) -> bytes:
        """Return what to send when TCP, and TLS where there is some, is there."""

    def receive(self, received: bytes) -> bytes:
        """Take what was read, nothing for the end of the stream; return what to send at once.

        What it raises goes to who called `Engine.poll`.
        """

    def lost(self, reason: str) -> None:
        """The connection broke without an end of the stream.

        `reason` is refused, reset, timeout, fault for TLS, eof while TLS began, or the name of an errno.
        """


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

    __slots__ = (
        *("_engine", "_file", "_mask", "_opening", "_sock", "_tls", "_unsent", "_write"),
        *("heard_at", "protocol"),
    )

    _write: Callable[[bytes | memoryview], int]  # to the kernel, or to TLS

    def __init__(self, engine: Engine, protocol: Protocol) -> None:
        self._engine = engine
        self._tls: Any = None
        self._unsent = _NOTHING
        self._file, self._mask = -1, READ | WRITE
        self._opening = True
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
            self._sock: Socket = (sock := Socket(family, SOCK_STREAM))
            sock.setblocking(False)
            self._engine.epoll.register(sock.fileno(), self._mask)  # errors and the end are always told
            self._file = sock.fileno()
            self._engine.connections[self._file] = self
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            if slow:
                sock.setsockopt(SOL_SOCKET, SO_RCVBUF, _SLOW_BUFFER)
            if source is not None:
                sock.setsockopt(IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
            self._write = sock.send
            if tls is not None:
                # What `ssl.SSLSocket` is made of: the class itself is, under gevent, one that waits.
                wrap: Any = tls._wrap_socket  # type: ignore[attr-defined]  # noqa: SLF001 - see above
                self._tls = wrap(sock, False, host)
                self._write = self._tls.write
            failed = sock.connect_ex(address)
            if failed not in {0, errno.EINPROGRESS}:
                self._lose(_word(OSError(failed, "")))
        except OSError as failure:  # of TLS as well
            self._lose(_word(failure))

    @property
    def closed(self) -> bool:
        """Whether it has ended or was never begun."""
        return self._file < 0

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._unsent)

    def send(self, octets: bytes) -> bool:
        """Send. What the kernel does not take now is kept until it does, and the answer is False."""
        if self._file < 0:
            return False
        if self._unsent:
            self._unsent += octets
            return False
        sent = 0
        try:
            sent = self._write(octets)
        except _AGAIN:
            pass
        except OSError:
            return False  # how it ended, the next read says; before that there may be a close frame
        if sent == len(octets):
            return True
        self._unsent = bytearray(octets[sent:])
        self.watch(self._mask)
        return False

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
            self.read()  # of what TLS still holds, epoll says nothing

    def on_event(self, mask: int) -> None:
        """The kernel has something for us, or takes something."""
        if self._opening:
            self._open()
            return
        if mask & WRITE:
            self._flush()
        if mask & ~WRITE and self._file >= 0:
            self.read()

    def read(self, most: int = READ_BYTES) -> None:
        """Read once, and hand it on."""
        try:
            received = self._sock.recv(most) if self._tls is None else self._decrypt(most)
        except _AGAIN:
            return
        except OSError as failure:
            self._lose(_word(failure))
            return
        self.heard_at = self._engine.now
        reply = self.protocol.receive(received)
        if self._file >= 0:
            if reply:
                self.send(reply)
            if not received:
                self.close()  # a socket that has ended stays readable for ever

    def _open(self) -> None:
        """Go on with TCP, then with TLS, and then let the protocol begin."""
        if failed := self._sock.getsockopt(SOL_SOCKET, SO_ERROR):
            self._lose(_word(OSError(failed, "")))
            return
        self.watch(READ)
        try:
            if self._tls is not None:
                self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLWantWriteError:
            self.watch(READ | WRITE)
            return
        except OSError as failure:
            self._lose(_word(failure))
            return
        self._opening = False
        self.send(self.protocol.open())

    def _decrypt(self, most: int) -> bytes:
        """Read all records, or `most` bytes of one: of what TLS still holds, epoll says nothing."""
        pieces: list[bytes] = []
        try:
            for _ in range(_RECORDS if most == READ_BYTES else 1):
                pieces.append(self._tls.read(most))
                if not pieces[-1]:
                    break
        except (ssl.SSLWantReadError, ssl.SSLEOFError) as failure:
            if not pieces and isinstance(failure, ssl.SSLWantReadError):
                raise
        return b"".join(pieces)

    def _flush(self) -> None:
        unsent = self._unsent
        try:
            while unsent:
                with memoryview(unsent) as view:
                    sent = self._write(view[:_WRITE_BYTES])
                del unsent[:sent]
        except _AGAIN:
            return
        except OSError:
            pass  # how it ended, the next read says; before that there may be a close frame
        self._unsent = _NOTHING
        self.watch(self._mask & ~WRITE)

    def _lose(self, reason: str) -> None:
        self.close()
        self.protocol.lost(reason)


def _word(failure: OSError) -> str:
    """Return what an error means for a connection."""
    if isinstance(failure, ssl.SSLEOFError):
        return EOF
    if isinstance(failure, ssl.SSLError) or failure.errno is None:
        return FAULT
    return _WORDS.get(failure.errno) or errno.errorcode.get(failure.errno, os.strerror(failure.errno)).lower()
