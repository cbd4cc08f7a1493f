"""The HTTP part of a connection: one request and its one answer, which is a WebSocket, health, or a clean error."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from observability.serving import readiness_answer
from relay.metrics.labels import HandshakeOutcome
from relay.socket.upgrade_request import RELAY, Upgrade, accepted, read_upgrade
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.session import SUBPROTOCOL

HEALTH: Final = "/v1/health"
READY: Final = "/v1/ready"
REQUEST_BYTES: Final = 16_384
"""Of a request with all its headers. The library's own limit would let every stranger send a megabyte."""

_BLANK_LINE: Final = b"\r\n\r\n"

_SILENT: Final = logging.getLogger("varde.relay.http")
_SILENT.setLevel(logging.ERROR)  # below, the library would log what peers sent


class HttpUpgrade:
    """The server's side of the request, without I/O: `feed` bytes (an empty one is the end), `answer`, `take_bytes`.

    The request that our own clients send is read by `upgrade_request` at once. Everything else is parsed by the
    `websockets` library.
    """

    __slots__ = ("_ended", "_parser", "_pending", "_size", "request", "rest", "wants_eof")

    def __init__(self) -> None:
        self._parser: ServerProtocol | None = None
        self._size = 0
        """Bytes of the request so far, if it is not read at once."""
        self._pending: list[bytes] = []
        self._ended = False
        self.request: Request | Upgrade | None = None
        """The request, once all of it is there."""
        self.rest = bytearray()
        """What came behind the request: it is for the WebSocket. Appended line by line, so it must not be copied."""
        self.wants_eof = False
        """Whether nothing more is written after `take_bytes`."""

    @property
    def begun(self) -> bool:
        """Whether a request has begun, and is not complete."""
        return self.request is None and self._size > 0

    @property
    def unreadable(self) -> bool:
        """Whether something came that is no request. The answer to it is in `take_bytes`."""
        return self.request is None and self.wants_eof and not self._ended

    @property
    def finished(self) -> bool:
        """Whether the peer has ended its stream."""
        return self._ended

    @property
    def pending(self) -> int:
        """Bytes that `take_bytes` would return."""
        return sum(map(len, self._pending))

    def feed(self, received: bytes) -> None:
        """Take in what came from the network."""
        if not received:
            self._ended = True
            self._library().receive_eof()
            self._collect()
            return
        if self._parser is None and self.request is None:
            self.request = read_upgrade(received)
            if self.request is not None:
                return
        for line in _lines_of(received):  # what comes behind the request must not reach the library's parser
            if self.wants_eof:
                return  # it has its answer, and nobody reads on
            if self.request is None:
                self._feed_line(line)
            else:
                self.rest += line

    def answer(self, admit: Callable[[str], Refused | None], *, unready: Sequence[str]) -> HandshakeOutcome | None:
        """Answer the request. None when it became a WebSocket, otherwise what became of it.

        `admit` asks admission, with the X-Forwarded-For that load balancers wrote. `unready` is why no clients
        should be sent here, if so.
        """
        request = self.request
        assert request is not None
        if isinstance(request, Upgrade):
            return self._upgrade(request, admit(request.forwarded))
        path = request.path.partition("?")[0]
        if request.method == "GET" and path == RELAY:
            if len(request.headers.get_all("Host")) != 1:  # RFC 6455 section 4.2.1: the library does not check this
                self.respond(_plain(HTTPStatus.BAD_REQUEST, "A request names its host, and once.\n"))
                return HandshakeOutcome.PLAIN_HTTP
            return self._upgrade(request, admit(",".join(request.headers.get_all("X-Forwarded-For"))))
        self.respond(_answer_of(request.method, path, unready))
        return HandshakeOutcome.PLAIN_HTTP

    def respond(self, response: Response) -> None:
        """Write a response; anything but an upgrade ends the connection."""
        self._library().send_response(response)
        self._collect()

    def give_up(self) -> None:
        """Answer a request that was not complete in time."""
        if not (self.request or self.wants_eof or self._ended):
            self.respond(_plain(HTTPStatus.REQUEST_TIMEOUT, "The request took too long.\n"))

    def take_bytes(self) -> bytes:
        """Return what is to be written now."""
        pending, self._pending = self._pending, []
        return b"".join(pending)

    def _upgrade(self, request: Request | Upgrade, refused: Refused | None) -> HandshakeOutcome | None:
        if refused is not None:
            # Whole seconds (RFC 9110 section 10.2.3), rounded up: a client that came earlier would be turned away
            # again.
            seconds = -(-(refused.retry_after_ms or 1_000) // 1_000)
            headers = {"Retry-After": str(seconds)}
            self.respond(_plain(HTTPStatus.SERVICE_UNAVAILABLE, f"{refused.detail}\n", headers))
            overloaded = refused.code is RefusalCode.OVERLOADED
            return HandshakeOutcome.OVERLOADED if overloaded else HandshakeOutcome.RATE_LIMITED
        if isinstance(request, Upgrade):
            self._pending.append(accepted(request))
            return None
        response = self._library().accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            response.headers["Sec-WebSocket-Version"] = "13"  # RFC 6455 section 4.4: the library does not send it
        self.respond(response)
        return None if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS else HandshakeOutcome.PLAIN_HTTP

    def _library(self) -> ServerProtocol:
        if self._parser is None:
            subprotocols = [Subprotocol(SUBPROTOCOL)]
            self._parser = ServerProtocol(subprotocols=subprotocols, state=State.CONNECTING, logger=_SILENT)
        return self._parser

    def _feed_line(self, line: bytes) -> None:
        self._size += len(line)
        if self._size > REQUEST_BYTES:
            self.respond(_plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request is too large.\n"))
            return
        parser = self._library()
        parser.receive_data(line)
        for event in parser.events_received():
            if isinstance(event, Request):
                self.request = event
        self._collect()

    def _collect(self) -> None:
        parser = self._library()
        for written in parser.data_to_send():
            if written == SEND_EOF:
                self.wants_eof = True
            else:
                self._pending.append(written)
        if parser.handshake_exc is not None and self.request is None and self.wants_eof and not self._pending:
            # The library hangs up without a word on what is no request; a person with a terminal deserves an answer.
            self._pending.append(_plain(HTTPStatus.BAD_REQUEST, "This is not an HTTP request.\n").serialize())


def _lines_of(received: bytes) -> Iterator[bytes]:
    """Yield the lines of a part of a request, with their ends; a whole request and nothing else is one piece."""
    if received.endswith(_BLANK_LINE) and received.count(_BLANK_LINE) == 1:
        yield received
        return
    begin = 0
    while begin < len(received):
        end = received.find(b"\n", begin) + 1 or len(received)
        yield received[begin:end]
        begin = end


def _answer_of(method: str, path: str, unready: Sequence[str]) -> Response:
    if path not in (RELAY, HEALTH, READY):
        return _plain(HTTPStatus.NOT_FOUND, "There is no such resource here.\n")
    if method != "GET":
        return _plain(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is answered here.\n", {"Allow": "GET"})
    if path == HEALTH:
        return _plain(HTTPStatus.OK, "alive\n")
    answer = readiness_answer(unready)
    return _plain(answer.status, f"{answer.text}\n")


def _plain(status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """Make a plain answer that ends the connection."""
    body = text.encode()
    fields = Headers({"Connection": "close", "Content-Length": str(len(body)), "Content-Type": "text/plain"})
    fields.update(headers or {})
    return Response(status.value, status.phrase, fields, body)
