"""One connection of a null server: the upgrade, frames of WebSocket, the session.

It talks to our own generator on the loopback: of the protocol it does what that needs, and hangs up on anything else.
"""

import base64
import hashlib
import re
import socket
from collections.abc import Sequence
from typing import Final

from websockets.speedups import apply_mask

from varde_contract import frames as f
from varde_contract.errors import LocalMisuse, PeerFault
from varde_contract.limits import NOISE_MESSAGE_BYTES
from varde_contract.noise import KeyPair
from varde_contract.session import SUBPROTOCOL, ServerSession, State

_RECEIVE: Final = 128 * 1024
_REST_BYTES: Final = 256 * 1024
_UNSENT_BYTES: Final = 4 * 1024 * 1024
_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY: Final = re.compile(rb"(?i)\r\nsec-websocket-key:[ \t]*(\S+)[ \t]*\r\n")
_BINARY: Final = 0x82
_SHORT: Final = 125
_KEY_BYTES: Final = 4


class HungUp(Exception):
    """This connection is over, by whichever side and for whatever reason."""


class Peer:
    """Bytes in, frames out. Frames go out at once; what the kernel refuses waits until `flush`."""

    __slots__ = ("_rest", "_session", "_sock", "_unsent", "_upgraded", "hello")

    def __init__(self, sock: socket.socket, static: KeyPair) -> None:
        self._sock = sock
        self._session = ServerSession(static)
        self._rest = b""
        self._unsent = b""
        self._upgraded = False
        self.hello: f.Hello | None = None
        """Who it is, once its handshake is over."""

    @property
    def blocked(self) -> bool:
        """Whether something waits for the kernel."""
        return bool(self._unsent)

    @property
    def live(self) -> bool:
        """Whether it was welcomed."""
        return self._session.state is State.LIVE

    def receive(self) -> list[f.ClientFrame]:
        """Read once and return the frames that came. Raises HungUp."""
        try:
            received = self._sock.recv(_RECEIVE)
        except BlockingIOError:
            return []
        except OSError:
            raise HungUp from None
        self._rest += received
        if not received or len(self._rest) > _REST_BYTES:
            raise HungUp
        if not self._upgraded and not self._upgrade():
            return []
        return [frame for message in self._split() for frame in self._open(message)]

    def tell(self, frames: Sequence[f.ServerFrame]) -> None:
        """Send frames, all in one message. Raises HungUp."""
        try:
            self._send(_framed(self._session.send(*frames)))
        except LocalMisuse:
            raise HungUp from None

    def flush(self) -> None:
        """Send what waits, as far as it goes. Raises HungUp."""
        waiting, self._unsent = self._unsent, b""
        self._send(waiting)

    def aclose(self) -> None:
        """Hang up."""
        self._sock.close()

    def _open(self, message: bytes) -> list[f.ClientFrame]:
        try:
            frames = self._session.receive(message)
        except PeerFault:
            raise HungUp from None
        if (reply := self._session.take_reply()) is not None:
            self._send(_framed(reply))
        self.hello = self._session.hello
        return frames

    def _send(self, wanted: bytes) -> None:
        if not self._unsent:
            try:
                wanted = wanted[self._sock.send(wanted) :]
            except BlockingIOError:
                pass
            except OSError:
                raise HungUp from None
        self._unsent += wanted
        if len(self._unsent) > _UNSENT_BYTES:
            raise HungUp

    def _upgrade(self) -> bool:
        head, end, rest = self._rest.partition(b"\r\n\r\n")
        if not end:
            return False
        key = _KEY.search(head + b"\r\n")
        if key is None:
            raise HungUp
        accept = base64.b64encode(hashlib.sha1(key[1] + _ACCEPT, usedforsecurity=False).digest())
        lines = (
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Protocol: " + SUBPROTOCOL.encode(),
            b"Sec-WebSocket-Accept: " + accept,
        )
        self._send(b"\r\n".join(lines) + b"\r\n\r\n")
        self._rest, self._upgraded = rest, True
        return True

    def _split(self) -> list[bytes]:
        """Return the unmasked content of all frames that are whole. Raises HungUp for any but final binary ones."""
        messages, stream, start = [], self._rest, 0
        while (span := _span(stream, start)) is not None and span[1] <= len(stream):
            begin, start = span
            messages.append(apply_mask(stream[begin:start], stream[begin - _KEY_BYTES : begin]))
        self._rest = stream[start:]
        return messages


def _span(stream: bytes, start: int) -> tuple[int, int] | None:
    """Return where the content of the frame at `start` begins and ends, None when its head is not all there."""
    if len(stream) - start < 8:  # noqa: PLR2004 - two bytes, a length, a key: no message of a client is shorter
        return None
    size, begin = stream[start + 1] & 0x7F, start + 2 + _KEY_BYTES
    if stream[start] != _BINARY or not stream[start + 1] & 0x80:
        raise HungUp
    if size > _SHORT:
        size, begin = int.from_bytes(stream[start + 2 : start + 4], "big"), begin + 2
        if stream[start + 1] & 0x7F != _SHORT + 1:
            raise HungUp
    return begin, begin + size


def _framed(message: bytes) -> bytes:
    size = len(message)
    assert size <= NOISE_MESSAGE_BYTES
    return bytes((_BINARY, size)) + message if size <= _SHORT else b"\x82\x7e" + size.to_bytes(2, "big") + message
