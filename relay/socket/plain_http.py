"""HTTP where there is no WebSocket yet: the lines of a request, how large it may be, and plain answers."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Response

REQUEST_BYTES: Final = 16_384
"""Of a request with all its headers. The library by itself would take a megabyte from every stranger."""

_BLANK_LINE: Final = b"\r\n\r\n"


def lines_of(received: bytes) -> Iterator[bytes]:
    """Yield the lines of a part of a request, with their ends; a whole request and nothing else is one piece."""
    if received.endswith(_BLANK_LINE) and received.count(_BLANK_LINE) == 1:
        yield received
        return
    begin = 0
    while begin < len(received):
        end = received.find(b"\n", begin) + 1 or len(received)
        yield received[begin:end]
        begin = end


def http_answer(status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """Make a plain answer that ends the connection."""
    body = text.encode()
    fields = Headers({"Connection": "close", "Content-Length": str(len(body)), "Content-Type": "text/plain"})
    fields.update(headers or {})
    return Response(status.value, status.phrase, fields, body)
