"""The page that Prometheus reads, on a port of its own: a few scrapers at once, one small request each."""

import logging
from contextlib import suppress
from http import HTTPStatus
from typing import Final, NamedTuple, NoReturn

import trio

from relay.metrics.page import make_page
from relay.services import Services
from relay.socket.listeners import BREATHER, EXHAUSTED

PATH: Final = b"/metrics"
SCRAPERS: Final = 4
"""Served at once; more wait in the kernel, a few of them."""
BACKLOG: Final = 16
REQUEST_BYTES: Final = 8_192
DEADLINE: Final = 5.0
"""Seconds for request and answer: half of what Prometheus waits by default."""
LINGER_BYTES: Final = 65_536
"""Read after the answer, so that it is not lost to a reset (RFC 9293 3.10.7.4)."""

_END: Final = b"\r\n\r\n"
_TEXT: Final = "text/plain; charset=utf-8"
_log: Final = logging.getLogger("varde.relay")


class Refusal(NamedTuple):
    """Why there is no page."""

    status: HTTPStatus
    text: str


async def start_metrics(services: Services, nursery: trio.Nursery) -> str | None:
    """Serve the page if the node is told to; return where. Raises OSError when the address cannot be had."""
    if services.config.metrics_bind is None:
        return None
    host, port = services.config.metrics_bind
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    except OSError as failure:
        raise OSError(
            failure.errno, f"no metrics can be served at {host}, port {port}: {failure.strerror}"
        ) from failure
    for listener in listeners:
        turn = trio.Lock()
        for _ in range(SCRAPERS):
            nursery.start_soon(_run_scraper, services, listener, turn)
    name = listeners[0].socket.getsockname()
    listening = f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    _log.info("metrics are at http://%s%s", listening, PATH.decode())
    return listening


async def _run_scraper(services: Services, listener: trio.SocketListener, turn: trio.Lock) -> NoReturn:
    async with listener:
        while True:
            async with turn:  # Trio lets one task at a time wait for a socket
                stream = await _accept(listener)
            try:
                async with stream:
                    with trio.move_on_after(DEADLINE), suppress(trio.BrokenResourceError):
                        await _serve(services, stream)
            except Exception as surprise:
                _log.error("a scrape ended with a surprise: %s", type(surprise).__name__)
                if services.config.strict:
                    raise


async def _accept(listener: trio.SocketListener) -> trio.SocketStream:
    while True:
        try:
            return await listener.accept()  # without a deadline: nobody may ever ask
        except OSError as failure:
            if failure.errno not in EXHAUSTED:
                raise
            await trio.sleep(BREATHER)


async def _serve(services: Services, stream: trio.SocketStream) -> None:
    head = await _read_head(stream)
    refusal = _judge(head)
    if refusal is None:
        services.metrics.scrapes += 1
        page, media_type = await make_page(services, openmetrics=b"application/openmetrics-text" in head)
        await stream.send_all(_head(HTTPStatus.OK, media_type, len(page)) + page)
    elif head:
        text = f"{refusal.text}\n".encode()
        await stream.send_all(_head(refusal.status, _TEXT, len(text)) + text)
    await _linger(stream)


async def _read_head(stream: trio.SocketStream) -> bytes:
    head = b""
    while _END not in head and len(head) <= REQUEST_BYTES:
        received = await stream.receive_some(REQUEST_BYTES)
        if not received:
            break
        head += received
    return head


def _judge(head: bytes) -> Refusal | None:
    if _END not in head[: REQUEST_BYTES + len(_END)]:
        if len(head) > REQUEST_BYTES:
            return Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request is too large.")
        return Refusal(HTTPStatus.BAD_REQUEST, "This is not an HTTP request.")
    words = head.partition(b"\r\n")[0].split(b" ")
    if len(words) != 3 or words[2] not in {b"HTTP/1.1", b"HTTP/1.0"}:  # noqa: PLR2004 - method, target, version
        return Refusal(HTTPStatus.BAD_REQUEST, "This is not an HTTP request.")
    if words[1].partition(b"?")[0] != PATH:
        return Refusal(HTTPStatus.NOT_FOUND, "Only /metrics is here.")
    return None if words[0] == b"GET" else Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is answered here.")


def _head(status: HTTPStatus, media_type: str, size: int) -> bytes:
    fields = {"Content-Type": media_type, "Content-Length": str(size), "Connection": "close"}
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        fields["Allow"] = "GET"
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def _linger(stream: trio.SocketStream) -> None:
    await stream.send_eof()
    left = LINGER_BYTES
    while left > 0 and (received := await stream.receive_some(left)):
        left -= len(received)
