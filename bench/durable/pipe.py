"""What a dialect's bytes travel in: a WebSocket, or nothing but TCP. Sans-I/O."""

from typing import Final, Protocol

from loadtest.client import websocket
from loadtest.client.websocket import ServerFault, Splitter

_CLOSE_WORDS: Final = 120


class Pipe(Protocol):
    """One connection's way of cutting a byte stream into what was said."""

    def open(self) -> bytes:
        """Return what to send when TCP is connected; empty when the dialect may begin at once."""

    def unwrap(self, received: bytes) -> tuple[list[bytes], bytes]:
        """Return the payloads that are complete now, and what must be sent back for the pipe's own sake."""

    def wrap(self, payload: bytes) -> bytes:
        """Return a payload as it is sent."""

    @property
    def ready(self) -> bool:
        """Whether the dialect may speak."""


class TcpPipe:
    """The bytes as they are."""

    __slots__ = ()
    ready = True

    def open(self) -> bytes:
        """Nothing has to be said."""
        return b""

    def unwrap(self, received: bytes) -> tuple[list[bytes], bytes]:
        """Return what came."""
        return [received], b""

    def wrap(self, payload: bytes) -> bytes:
        """Return the payload."""
        return payload


class WebSocketPipe:
    """One message in one frame of a WebSocket (RFC 6455). Answers pings."""

    __slots__ = ("_head", "_opcode", "_request", "_splitter")

    def __init__(self, authority: str, path: str, subprotocol: str, *, opcode: int = websocket.BINARY) -> None:
        self._request = websocket.upgrade_request(authority, path, subprotocol)
        self._opcode = opcode
        self._head = b""
        self._splitter: Splitter | None = None

    @property
    def ready(self) -> bool:
        """Whether the upgrade is over."""
        return self._splitter is not None

    def open(self) -> bytes:
        """Return the request that opens the WebSocket."""
        return self._request

    def unwrap(self, received: bytes) -> tuple[list[bytes], bytes]:
        """Return whole messages, and pongs. Raises ServerFault when the server closes."""
        if self._splitter is None:
            self._head += received
            rest = websocket.split_response(self._head)
            if rest is None:
                return [], b""
            self._head, self._splitter, received = b"", Splitter(), rest
        messages = self._splitter.feed(received)
        if all(opcode == self._opcode for opcode, _ in messages):
            return [payload for _, payload in messages], b""
        return self._apart(messages)

    def wrap(self, payload: bytes) -> bytes:
        """Return one masked frame."""
        return websocket.masked(payload, self._opcode)

    def _apart(self, messages: list[websocket.Message]) -> tuple[list[bytes], bytes]:
        payloads, reply = [], b""
        for opcode, payload in messages:
            if opcode == self._opcode:
                payloads.append(payload)
            elif opcode == websocket.PING:
                reply += websocket.masked(payload, websocket.PONG)
            elif opcode == websocket.CLOSE:
                raise ServerFault(f"the server closed: {_close_words(payload)}")
        return payloads, reply


def _close_words(payload: bytes) -> str:
    code = int.from_bytes(payload[:2], "big") if payload else None
    return f"{code} {payload[2:_CLOSE_WORDS].decode(errors='replace')}"
