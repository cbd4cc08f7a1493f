"""One member as the generator plays it, sans-I/O: how it connects, what it sends, and what it counts."""

import os
from typing import Final, Protocol

from bench.peer_wire import (
    ACK_BYTES,
    CONTENT_BYTES,
    DELIVERY,
    DELIVERY_BYTES,
    NUMBER,
    READY,
    Hello,
    pack_hello,
)
from bench.sealing import Opening, Sealing, Unsealed
from loadtest.client import websocket
from loadtest.client.websocket import PING, PONG, ServerFault, masked, measure_frame, split_response

CONTENT: Final = bytes(range(CONTENT_BYTES))
"""What is sent: every byte once, so that nothing else is taken for it."""
CHECKED: Final = 8
"""Messages of the server that each connection opens and compares before it only counts."""

_KEY_BYTES: Final = 32
_TWO_BYTE_LENGTH: Final = 126


class Client(Protocol):
    """One connection's side of the protocol. Counters only grow; `pings` are those that were answered,
    `refused` the messages that the server said it has no room for.
    """

    member: int
    ready: bool
    deliveries: int
    acks: int
    pings: int
    refused: int

    def open(self) -> bytes:
        """Return the first bytes to send."""

    def receive(self, received: bytes) -> bytes:
        """Take what was received and return what must be sent in answer. Raises ServerFault."""

    def message(self) -> bytes:
        """Return the frame of the next message to the room."""


class PeerClient:
    """A member at one of the peer servers."""

    __slots__ = (
        *("_authority", "_hello", "_opening", "_rest", "_sealing", "_sent", "_to_check", "_upgraded"),
        *("acks", "deliveries", "member", "pings", "ready", "refused"),
    )

    def __init__(self, authority: str, room: int, member: int, *, sealed: bool = True) -> None:
        keys = os.urandom(_KEY_BYTES), os.urandom(_KEY_BYTES)
        self._authority, self.member = authority, member
        self._hello = pack_hello(Hello(room, member, *keys))
        self._sealing = Sealing(keys[0]) if sealed else Unsealed()
        self._opening = Opening(keys[1]) if sealed else Unsealed()
        self._rest = b""
        self._upgraded = False
        self._sent = 0
        self._to_check = CHECKED
        self.ready = False
        self.deliveries = self.acks = self.pings = self.refused = 0

    def open(self) -> bytes:
        """Return the upgrade."""
        return websocket.upgrade_request(self._authority)

    def message(self) -> bytes:
        """Return a message with the next number."""
        self._sent = sent = self._sent + 1
        return masked(self._sealing.seal(NUMBER.pack(sent) + CONTENT))

    def receive(self, received: bytes) -> bytes:
        """Count frames by their lengths, after the first ones were opened."""
        stream = self._rest + received if self._rest else received
        if not self.ready:
            return self._greet(stream)
        answer, start, end = b"", 0, len(stream)
        while end - start > 3:  # noqa: PLR2004 - no frame that is counted is shorter
            size, begin = stream[start + 1], start + 2
            if size == _TWO_BYTE_LENGTH:
                size, begin = stream[begin] << 8 | stream[begin + 1], begin + 2
            stop = begin + size
            if stop > end:
                break
            if size == DELIVERY_BYTES:
                self.deliveries += 1
            elif size == ACK_BYTES:
                self.acks += 1
            else:
                answer += self._control(stream[start], stream[begin:stop])
            if self._to_check and size in {DELIVERY_BYTES, ACK_BYTES}:
                self._check(stream[begin:stop])
            start = stop
        self._rest = stream[start:]
        return answer

    def _greet(self, stream: bytes) -> bytes:
        if not self._upgraded:
            rest = split_response(stream)
            if rest is None:
                self._rest = stream
                return b""
            self._upgraded, self._rest = True, b""
            return masked(self._hello)
        span = measure_frame(stream, 0)
        if span is None or span[1] > len(stream):
            self._rest = stream
            return b""
        if stream[span[0] : span[1]] != READY:
            raise ServerFault("the server did not answer that it is ready")
        self.ready, self._rest = True, b""
        return self.receive(stream[span[1] :])

    def _control(self, first: int, payload: bytes) -> bytes:
        if first & 0x0F != PING:
            raise ServerFault("the server sent a frame that is neither delivery nor ack nor ping")
        self.pings += 1
        return masked(payload, PONG)

    def _check(self, sealed: bytes) -> None:
        self._to_check -= 1
        plain = self._opening.open(sealed)
        if plain[:1] == DELIVERY and plain[-CONTENT_BYTES:] != CONTENT:
            raise ServerFault("a delivery does not hold what was sent")
