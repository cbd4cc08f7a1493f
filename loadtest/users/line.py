"""One connection of a user: TCP, perhaps TLS, and the WebSocket on it, on a socket that never blocks."""

import enum
import errno
import os
import ssl
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from gevent import monkey, socket

from loadtest import framing
from loadtest.framing import ServerFault, UpgradeRefused
from loadtest.users.reactor import READ, WRITE, Reactor
from loadtest.users.secured import Secured
from loadtest.users.target import Target
from varde_contract.errors import PeerFault
from varde_contract.limits import NOISE_MESSAGE_BYTES
from varde_contract.session import SUBPROTOCOL

_Socket: Final = monkey.get_original("socket", "SocketType")
"""The kernel's socket and nothing around it: gevent's would wait where this one says that it would have to."""
_BIND_LATER: Final = 24
"""IP_BIND_ADDRESS_NO_PORT: the port is chosen with the peer in mind, so that many connections may share one."""
_READ_BYTES: Final = 65_536
_WRITE_BYTES: Final = 262_144
_SLOW_BUFFER: Final = 4_096
_WIDE_BUFFER: Final = 1 << 20
_CONTROL_BYTES: Final = 125
_NOTHING: Final = bytearray()
"""Stands for nothing unsent in all lines; nobody adds to it."""
_UNHEARD_BYTES: Final = 65_536
_NORMAL: Final = 1_000
_NO_CODE: Final = "1005"
_KNOWN_CODES: Final = (range(1_000, 1_016), range(4_000, 4_200))
_WORDS: Final = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
}
FAULT: Final = "fault"
"""The server broke a protocol: TLS, HTTP, WebSocket, Noise or ours."""
EOF: Final = "eof"
"""The server hung up without a close frame."""


class Phase(enum.Enum):
    """Where a line stands."""

    CONNECTING = "connecting"
    SECURING = "securing"
    UPGRADING = "upgrading"
    OPEN = "open"
    LEAVING = "leaving"  # our close frame is on its way; what still comes is heard
    CLOSED = "closed"


class Ending(NamedTuple):
    """How a line ended: a close code, or a word. `retry_after_s` is what the server asked for."""

    code: str
    retry_after_s: float = 0.0


class Owner(Protocol):
    """Who is told. All of it happens in the hub, where nobody may wait."""

    def opened(self) -> None:
        """The WebSocket is there."""

    def hear(self, message: bytes) -> None:
        """A message came. May raise PeerFault."""

    def lost(self, ending: Ending) -> None:
        """The line has ended."""


class Line:
    """A connection. `heard_at` is when something came last, in the reactor's seconds."""

    __slots__ = (
        "_file",
        "_mask",
        "_owner",
        "_reactor",
        "_rest",
        "_secured",
        "_sock",
        "_target",
        "_unsent",
        "heard_at",
        "phase",
    )

    def __init__(self, owner: Owner, reactor: Reactor, target: Target) -> None:
        self._owner, self._reactor, self._target = owner, reactor, target
        self._secured: Secured | None = None
        self._rest: bytes = b""
        self._unsent = _NOTHING
        self._file, self._mask = -1, READ | WRITE
        self.heard_at = reactor.now
        self.phase = Phase.CONNECTING

    def connect(self, source: str | None, tls: ssl.SSLContext | None, *, slow: bool = False) -> None:
        """Begin; what goes wrong is told as an ending. With `slow`, the kernel keeps little of what was not read."""
        try:
            self._sock = sock = _Socket(self._target.family, socket.SOCK_STREAM)
            sock.setblocking(False)
            self._reactor.add(sock.fileno(), self, self._mask)
            self._file = sock.fileno()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if slow:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER)
            if source is not None:
                sock.setsockopt(socket.IPPROTO_IP, _BIND_LATER, 1)
                sock.bind((source, 0))
            if self._target.tls:
                self._secured = Secured(tls or ssl.create_default_context(), self._target.host)
            failed = sock.connect_ex(self._target.address)
            if failed not in {0, errno.EINPROGRESS}:
                self._end(_word(failed))
        except OSError as failure:  # of TLS as well
            self._end(_word(failure.errno))

    def widen(self) -> None:
        """Let the kernel keep as much as for anybody: from now on the line is read as it comes."""
        if self.phase is not Phase.CLOSED:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WIDE_BUFFER)
            self.watch(READ)

    def write(self, payload: bytes, opcode: int = framing.BINARY) -> None:
        """Send a message. What the kernel does not take now is kept until it does."""
        octets = framing.masked(payload, opcode)
        self._push(octets if self._secured is None else self._secured.seal(octets))

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._unsent)

    def leave(self) -> None:
        """Close in good order: say so, and hear what is still on its way until the server has closed too."""
        if self.phase is Phase.OPEN:
            self._close(_NORMAL)
            self.phase = Phase.LEAVING
        elif self.phase is not Phase.LEAVING:
            self._end("left")

    def cut(self, word: str) -> None:
        """End at once, for a reason of ours."""
        self._end(word)

    def watch(self, mask: int) -> None:
        """Look out for this: READ, or HANGUP for the end alone, or 0; and for when what is unsent can be sent."""
        self._mask = mask | WRITE if self._unsent else mask
        if self.phase is not Phase.CLOSED:
            self._reactor.change(self._file, self._mask)

    def on_event(self, mask: int) -> None:
        """The kernel has something for us, or takes something."""
        if mask & WRITE:
            self._on_writable()
        if mask & ~WRITE and self.phase is not Phase.CLOSED:
            self.read()

    def read(self, most: int = _READ_BYTES) -> None:
        """Read once, and hand on what is complete."""
        try:
            received = self._sock.recv(most)
            if received:
                self.heard_at = self._reactor.now
                self._take(received)
            else:
                self._end(EOF)
        except BlockingIOError:
            pass
        except OSError as failure:
            self._end(_word(failure.errno))
        except UpgradeRefused as refused:
            self._end(str(refused.status), refused.retry_after_s or 0.0)
        except PeerFault as fault:
            self._close(fault.close_code)
            self._end(FAULT)
        except ServerFault:
            self._end(FAULT)

    def _on_writable(self) -> None:
        if self.phase is Phase.CONNECTING:
            failed = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failed:
                self._end(_word(failed))
                return
            self._begin()
        self._flush()

    def _begin(self) -> None:
        if self._secured is None:
            self._ask()
        else:
            self.phase = Phase.SECURING
            self._keep(self._secured.take())

    def _ask(self) -> None:
        self.phase = Phase.UPGRADING
        request = framing.upgrade_request(self._target.authority, self._target.path, SUBPROTOCOL)
        self._keep(request if self._secured is None else self._secured.seal(request))

    def _keep(self, octets: bytes) -> None:
        """Have these sent as soon as the kernel takes something."""
        if self._unsent:
            self._unsent += octets
        else:
            self._unsent = bytearray(octets)
            self.watch(self._mask & ~WRITE)

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
        sent = 0
        if not self._unsent:
            try:
                sent = self._sock.send(octets)
            except BlockingIOError:
                pass
            except OSError:
                return  # how it ended, the next read says; before that there may be a close frame
        if sent < len(octets):
            self._keep(octets[sent:])

    def _take(self, received: bytes) -> None:
        if self._secured is not None:
            received = self._unseal(self._secured, received)
        if self._rest:
            received = self._rest + received
        if self.phase is Phase.UPGRADING:
            rest = framing.split_response(received)
            if rest is None:
                self._rest = received
                return
            self.phase, received = Phase.OPEN, rest
            self._owner.opened()
        self._split(received)

    def _unseal(self, secured: Secured, received: bytes) -> bytes:
        plain = secured.feed(received)
        if self.phase is Phase.SECURING and secured.shaken:
            self._push(secured.take())
            self._ask()
        elif reply := secured.take():
            self._push(reply)
        return plain

    def _split(self, stream: bytes) -> None:
        start, size = 0, len(stream)
        while (span := framing.measure_frame(stream, start, NOISE_MESSAGE_BYTES)) is not None and span[1] <= size:
            payload = stream[span[0] : span[1]]
            if stream[start] & 0x0F == framing.BINARY:
                self._owner.hear(payload)
            else:
                self._control(stream[start] & 0x0F, payload)
            if self.phase is Phase.CLOSED:
                return
            start = span[1]
        self._rest = stream[start:] if start else stream

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode not in {framing.PING, framing.PONG, framing.CLOSE} or len(payload) > _CONTROL_BYTES:
            raise ServerFault("a message of text, or a control frame that is none")
        if opcode == framing.PING:
            # Nobody has to be answered who does not read the answers.
            if self.phase is Phase.OPEN and len(self._unsent) < _UNHEARD_BYTES:
                self.write(payload, framing.PONG)
        elif opcode == framing.CLOSE:
            if self.phase is Phase.OPEN:
                self.write(payload[:2], framing.CLOSE)
            self._end(_code(payload))

    def _close(self, code: int) -> None:
        if self.phase is Phase.OPEN:
            self.write(code.to_bytes(2, "big"), framing.CLOSE)

    def _end(self, code: str, retry_after_s: float = 0.0) -> None:
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        if self._file >= 0:
            self._reactor.remove(self._file)
            with suppress(OSError):
                self._sock.close()
        self._rest = b""
        self._unsent = _NOTHING
        self._secured = None
        self._owner.lost(Ending(code, retry_after_s))


def _word(number: int | None) -> str:
    if number is None:
        return FAULT
    return _WORDS.get(number) or errno.errorcode.get(number, os.strerror(number)).lower()


def _code(payload: bytes) -> str:
    if not payload:
        return _NO_CODE
    code = int.from_bytes(payload[:2], "big")
    return str(code) if len(payload) > 1 and any(code in known for known in _KNOWN_CODES) else FAULT
