"""A client of `varde.v2` without a socket: bytes in, events out, and as the last event how the connection ended."""

import enum
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias, TypeVar

from msgspec import Struct

from loadtest.client import websocket
from loadtest.client.websocket import ServerFault, UpgradeRefused
from varde_contract import frames as f
from varde_contract.errors import PeerFault
from varde_contract.limits import NOISE_MESSAGE_BYTES
from varde_contract.noise import KeyPair
from varde_contract.session import SUBPROTOCOL, ClientSession, Pattern, State

PATH: Final = "/v1/relay"
FAULT: Final = "fault"  # the server broke a protocol: TLS, HTTP, WebSocket, Noise or ours
EOF: Final = "eof"  # the server hung up without a close frame
NORMAL: Final = 1_000
_NO_CODE: Final = "1005"
_KNOWN_CODES: Final = (range(1_000, 1_016), range(4_000, 4_200))
"""Of RFC 6455 (section 7.4.1) and of this protocol: any other one is a fault of the server."""
_CONTROL: Final = frozenset({websocket.PING, websocket.PONG, websocket.CLOSE})
_CONTROL_BYTES: Final = 125
"""RFC 6455, section 5.5."""


class Ending(NamedTuple):
    """How a connection ended: a close code, an HTTP status, or a word. `retry_after_s` is what the server asked for."""

    code: str
    retry_after_s: float = 0.0


class Phase(enum.Enum):
    """Where the WebSocket stands."""

    UPGRADING = "upgrading"
    OPEN = "open"
    CLOSING = "closing"  # our close frame is out; what still comes is read
    CLOSED = "closed"


E = TypeVar("E")
Event: TypeAlias = f.ServerFrame | Ending


class RelayClient:
    """One connection. `open` first; then `receive`, and send what `take_reply` has after each."""

    __slots__ = ("_reply", "_request", "_rest", "_session", "phase")

    def __init__(
        self,
        authority: str,
        path: str,
        hello: f.Hello,
        static: KeyPair,
        relay_key: bytes | None,
        pattern: Pattern = Pattern.IK,
    ) -> None:
        """`authority` is host:port, for the Host header."""
        self._request = websocket.upgrade_request(authority, path, SUBPROTOCOL)
        self._session = ClientSession(static, hello, relay_key=relay_key, pattern=pattern)
        self._rest = self._reply = b""
        self.phase = Phase.UPGRADING

    def open(self) -> bytes:
        """Return the upgrade request, to be sent as soon as TCP (and TLS) is there."""
        request, self._request = self._request, b""
        return request

    @property
    def live(self) -> bool:
        """Whether frames may be sent: the relay has said Welcome."""
        return self._session.state in {State.LIVE, State.DRAINING} and self.phase is Phase.OPEN

    def receive(self, received: bytes) -> list[Event]:
        """Take what was read, nothing at the end; return its frames, at last an `Ending`. Never raises."""
        return self._receive(received, self._session.receive)

    def receive_plaintexts(self, received: bytes) -> list[bytes | Ending]:
        """Return packed frames, decrypted but not decoded or held against the state. Only after Welcome."""
        session = self._session
        return self._receive(received, lambda message: (session.unseal(message),))

    def take_reply(self) -> bytes:
        """Return what the protocols themselves want sent now: handshake messages, pongs, close frames."""
        reply, self._reply = self._reply, b""
        return reply

    def send(self, *frames: Struct) -> bytes:
        """Return the bytes of one message that holds these frames. Raises LocalMisuse while not `live`."""
        return websocket.masked(self._session.send(*frames))

    def send_encoded(self, kind: type[Struct], encoded: bytes) -> bytes:
        """Return the bytes of one frame that was encoded before."""
        return websocket.masked(self._session.send_one(kind, encoded))

    def seal(self, packed: bytes) -> bytes:
        """Return the bytes of a message that was packed before."""
        return websocket.masked(self._session.seal(packed))

    def close(self, code: int = NORMAL) -> bytes:
        """Return a close frame. What the server still says is received until it closes too."""
        if self.phase is not Phase.OPEN:
            return b""
        self.phase = Phase.CLOSING
        return websocket.masked(code.to_bytes(2, "big"), websocket.CLOSE)

    def _receive(self, received: bytes, read: Callable[[bytes], Iterable[E]]) -> list[E | Ending]:
        events: list[E | Ending] = []
        if self.phase is Phase.CLOSED:
            return events
        try:
            if received:
                self._read(received, read, events)
            else:
                self._end(events, Ending(EOF))
        except UpgradeRefused as refused:
            self._end(events, Ending(str(refused.status), refused.retry_after_s or 0.0))
        except PeerFault as fault:
            self._reply += self.close(fault.close_code)
            self._end(events, Ending(FAULT))
        except ServerFault:
            self._end(events, Ending(FAULT))
        return events

    def _read(self, stream: bytes, read: Callable[[bytes], Iterable[E]], events: list[E | Ending]) -> None:
        if self._rest:
            stream, self._rest = self._rest + stream, b""
        if self.phase is Phase.UPGRADING:
            behind = websocket.split_response(stream)
            if behind is None:
                self._rest = stream
                return
            self.phase, stream = Phase.OPEN, behind
            self._reply += websocket.masked(self._session.open())
        start, size = 0, len(stream)
        while (span := websocket.measure_frame(stream, start, NOISE_MESSAGE_BYTES)) is not None and span[1] <= size:
            payload, opcode = stream[span[0] : span[1]], stream[start] & websocket.OPCODE
            start = span[1]
            if opcode != websocket.BINARY:
                self._control(opcode, payload, events)
                if self.phase is Phase.CLOSED:
                    return
                continue
            events += read(payload)
            if (reply := self._session.take_reply()) is not None:
                self._reply += websocket.masked(reply)
        self._rest = stream[start:] if start else stream

    def _control(self, opcode: int, payload: bytes, events: list[E | Ending]) -> None:
        if opcode not in _CONTROL or len(payload) > _CONTROL_BYTES:
            raise ServerFault("a message of text, or a control frame that is none")
        if opcode == websocket.PING:
            if self.phase is Phase.OPEN:
                self._reply += websocket.masked(payload, websocket.PONG)
        elif opcode == websocket.CLOSE:
            if self.phase is Phase.OPEN:
                self._reply += websocket.masked(payload[:2], websocket.CLOSE)
            self._end(events, Ending(_code(payload)))

    def _end(self, events: list[E | Ending], ending: Ending) -> None:
        self.phase, self._rest = Phase.CLOSED, b""
        events.append(ending)


def _code(payload: bytes) -> str:
    """Return the code of a close frame's payload as an `Ending` has it."""
    if not payload:
        return _NO_CODE
    code = int.from_bytes(payload[:2], "big")
    return str(code) if len(payload) > 1 and any(code in known for known in _KNOWN_CODES) else FAULT
