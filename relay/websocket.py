"""One WebSocket as a sans-I/O core: bytes in, whole binary messages out, and the other way (RFC 6455).

Refuses text, extensions and anything larger than a Noise message; faults of this layer are answered here, with the
close codes of the RFC.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from contract.limits import NOISE_MESSAGE_BYTES
from contract.session import SUBPROTOCOL

FRAGMENTS: Final = 1_024
"""Of one message: they may be empty, and then no limit of size ends them."""

_SILENT: Final = logging.getLogger("varde.relay.websocket")
_SILENT.setLevel(logging.ERROR)  # below, the library would log what peers sent


class WebSocket:
    """The server's side of one connection, from the HTTP request on.

    Three verbs: `feed` bytes (an empty one is the end), take what came, take the bytes to write.
    """

    __slots__ = ("_fragments", "_messages", "_pending", "_protocol", "request", "wants_eof")

    def __init__(self) -> None:
        self._protocol = ServerProtocol(
            subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=NOISE_MESSAGE_BYTES, logger=_SILENT
        )
        self._fragments: list[bytes] | None = None
        self._messages: list[bytes] = []
        self._pending: list[bytes] = []
        self.request: Request | None = None
        self.wants_eof = False

    @property
    def open(self) -> bool:
        """Whether messages may still come and go."""
        return self._protocol.state is State.OPEN

    @property
    def finished(self) -> bool:
        """Whether the peer has nothing more to say: it closed, or its end of the stream did."""
        return self._protocol.close_rcvd is not None or self._protocol.state is State.CLOSED

    @property
    def pending(self) -> int:
        """Bytes that `take_bytes` would return."""
        return sum(map(len, self._pending))

    @property
    def unreadable(self) -> bool:
        """Whether what came instead of a request was none; the answer to give is in the bytes to write."""
        return self._protocol.handshake_exc is not None

    def feed(self, received: bytes | bytearray) -> None:
        """Take in what came from the network."""
        if received:
            self._protocol.receive_data(received)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take_frame(event)
            elif isinstance(event, Request):
                self.request = event
        self._collect()

    def accept(self, request: Request) -> bool:
        """Answer the request with an upgrade, or with what is wrong with it. True when it is an upgrade."""
        response = self._protocol.accept(request)
        self.respond(response)
        return response.status_code == HTTPStatus.SWITCHING_PROTOCOLS

    def respond(self, response: Response) -> None:
        """Answer the request; anything but an upgrade ends the connection."""
        self._protocol.send_response(response)
        self._collect()

    def give_up(self) -> None:
        """Answer a request that never came to its end."""
        if self.request is None and not self.wants_eof:
            self.respond(http_answer(HTTPStatus.REQUEST_TIMEOUT, "The request took too long.\n"))

    def take_messages(self) -> list[bytes]:
        """Return the whole messages that came."""
        messages, self._messages = self._messages, []
        return messages

    def send(self, message: bytes) -> None:
        """Write one binary message, unless the connection is ending."""
        if self.open:
            self._protocol.send_binary(message)
            self._collect()

    def ping(self) -> None:
        """Write a ping, unless the connection is ending."""
        if self.open:
            self._protocol.send_ping(b"")
            self._collect()

    def close(self, code: int, reason: str = "") -> None:
        """Write a close frame, unless there is one already."""
        if self.open:
            self._protocol.send_close(code, reason)
            self._collect()

    def take_bytes(self) -> bytes:
        """Return what is to be written now."""
        pending, self._pending = self._pending, []
        return b"".join(pending)

    def _take_frame(self, frame: Frame) -> None:
        if not self.open:
            return
        if frame.opcode is Opcode.TEXT:
            self._fail(CloseCode.UNSUPPORTED_DATA, "binary messages only")
        elif frame.opcode is Opcode.BINARY:
            self._fragments = []
            self._take_fragment(frame)
        elif frame.opcode is Opcode.CONT and self._fragments is not None:
            self._take_fragment(frame)

    def _take_fragment(self, frame: Frame) -> None:
        assert self._fragments is not None
        self._fragments.append(bytes(frame.data))
        if frame.fin:
            self._messages.append(b"".join(self._fragments))
            self._fragments = None
        elif len(self._fragments) == FRAGMENTS:
            self._fail(CloseCode.POLICY_VIOLATION, "too many fragments")

    def _fail(self, code: CloseCode, reason: str) -> None:
        self._fragments = None
        self._protocol.fail(code, reason)

    def _collect(self) -> None:
        for written in self._protocol.data_to_send():
            if written is SEND_EOF or not written:
                self.wants_eof = True
            else:
                self._pending.append(written)
        if self.unreadable and self.request is None and self.wants_eof and not self._pending:
            # The library only hangs up on what is no request; a person with a terminal deserves an answer.
            self._pending.append(http_answer(HTTPStatus.BAD_REQUEST, "This is not an HTTP request.\n").serialize())


def http_answer(status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """Make a plain answer that ends the connection."""
    body = text.encode()
    fields = Headers({"Connection": "close", "Content-Length": str(len(body)), "Content-Type": "text/plain"})
    fields.update(headers or {})
    return Response(status.value, status.phrase, fields, body)
