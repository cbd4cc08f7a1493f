"""A port of its own for what operators ask: Prometheus's page, life and readiness. Never the port that clients use."""

import errno
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Final, NamedTuple, NoReturn, Protocol, TypeAlias

import trio

from observability.definition import Page

PATH: Final = b"/metrics"
HEALTH: Final = b"/v1/health"
READY: Final = b"/v1/ready"
SCRAPERS: Final = 4
"""Served at once. A few more wait in the kernel."""
BACKLOG: Final = 16
REQUEST_BYTES: Final = 8_192
DEADLINE: Final = 5.0
"""Seconds for request and answer: half of what Prometheus waits by default."""
LINGER_BYTES: Final = 65_536
"""Read after the answer: closing with unread data would reset the stream (RFC 9293 section 3.10.7.4)."""
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
BREATHER: Final = 0.1
"""Seconds without accepting when files or memory run out. Meanwhile the kernel queues, then refuses."""

_END: Final = b"\r\n\r\n"
_TEXT: Final = "text/plain; charset=utf-8"
_log: Final = logging.getLogger("varde.metrics")


class Render(Protocol):
    """Makes the page, as it is now. A checkpoint."""

    async def __call__(self, *, openmetrics: bool) -> Page:
        """Return the page as it is now."""


Ready: TypeAlias = Callable[[], Awaitable[Sequence[str]]]
"""Says in single words why the program cannot serve now; nothing when it can."""


MakeContext: TypeAlias = Callable[[], ssl.SSLContext]
"""Returns what the TLS of the next connection is made from."""
Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Refusal(NamedTuple):
    """A short answer in place of the page."""

    status: HTTPStatus
    text: str


def readiness_answer(reasons: Sequence[str]) -> Refusal:
    """Return what a load balancer is told: 200, or 503 with the reasons."""
    if reasons:
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {', '.join(reasons)}")
    return Refusal(HTTPStatus.OK, "ready")


async def start_metrics(
    bind: tuple[str, int],
    render: Render,
    ready: Ready,
    nursery: trio.Nursery,
    *,
    tls: MakeContext | None = None,
    strict: bool = False,
) -> str:
    """Serve page, life and readiness at `bind`, in this nursery, and return the address. Port 0 means any free one.

    With `tls`, a scrape begins with TLS, and the context decides who may come.
    `strict` lets a surprise in a scrape end the program, for tests; otherwise it ends that scrape alone.
    Raises OSError when the address cannot be had.
    """
    host, port = bind
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    except OSError as failure:
        raise OSError(
            failure.errno, f"no metrics can be served at {host}, port {port}: {failure.strerror}"
        ) from failure
    for listener in listeners:
        turn = trio.Lock()
        for _ in range(SCRAPERS):
            nursery.start_soon(_run_scraper, render, ready, listener, turn, tls, strict)
    name = listeners[0].socket.getsockname()
    listening = f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    _log.info("metrics are at %s://%s%s", "http" if tls is None else "https", listening, PATH.decode())
    return listening


async def _run_scraper(
    render: Render,
    ready: Ready,
    listener: trio.SocketListener,
    turn: trio.Lock,
    tls: MakeContext | None,
    strict: bool,  # noqa: FBT001 - start_soon passes no names
) -> NoReturn:
    async with listener:
        while True:
            async with turn:  # Trio lets one task at a time wait for a socket
                stream = await _accept(listener)
            try:
                # Trio's own stream: a few scrapes a minute are no hot path.
                wrapped = (
                    stream if tls is None else trio.SSLStream(stream, tls(), server_side=True, https_compatible=True)
                )
                with trio.move_on_after(DEADLINE), suppress(trio.BrokenResourceError):
                    async with wrapped:
                        await _serve(render, ready, wrapped)
            except Exception as surprise:
                _log.error("a scrape ended with a surprise: %s", type(surprise).__name__)
                if strict:
                    raise


async def _accept(listener: trio.SocketListener) -> trio.SocketStream:
    while True:
        try:
            return await listener.accept()  # without a deadline: nobody may ever ask
        except OSError as failure:
            if failure.errno not in EXHAUSTED:
                raise
            await trio.sleep(BREATHER)


async def _serve(render: Render, ready: Ready, stream: Stream) -> None:
    head = await _read_head(stream)
    path, refusal = _judge(head)
    if path == HEALTH:
        refusal = Refusal(HTTPStatus.OK, "alive")  # whatever is wrong outside: a restart would not mend it
    elif path == READY:
        refusal = readiness_answer(await ready())
    if refusal is None:
        page = await render(openmetrics=b"application/openmetrics-text" in head)
        await stream.send_all(_head(HTTPStatus.OK, page.media_type, len(page.text)) + page.text)
    elif head:
        text = f"{refusal.text}\n".encode()
        await stream.send_all(_head(refusal.status, _TEXT, len(text)) + text)
    if isinstance(stream, trio.SocketStream):  # with TLS, whoever is here has shown a certificate, and reads
        await _linger(stream)


async def _read_head(stream: Stream) -> bytes:
    head = b""
    while _END not in head and len(head) <= REQUEST_BYTES:
        received = await stream.receive_some(REQUEST_BYTES)
        if not received:
            break
        head += received
    return head


def _judge(head: bytes) -> tuple[bytes, Refusal | None]:
    """Return the path that is asked for; a refusal, and no path, when there is nothing to say to it."""
    if _END not in head[: REQUEST_BYTES + len(_END)]:
        if len(head) > REQUEST_BYTES:
            return b"", Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request is too large.")
        return b"", Refusal(HTTPStatus.BAD_REQUEST, "This is not an HTTP request.")
    words = head.partition(b"\r\n")[0].split(b" ")
    if len(words) != 3 or words[2] not in {b"HTTP/1.1", b"HTTP/1.0"}:  # noqa: PLR2004 - method, target, version
        return b"", Refusal(HTTPStatus.BAD_REQUEST, "This is not an HTTP request.")
    path = words[1].partition(b"?")[0]
    if path not in {PATH, HEALTH, READY}:
        return b"", Refusal(HTTPStatus.NOT_FOUND, "Only /metrics, /v1/health and /v1/ready are here.")
    if words[0] != b"GET":
        return b"", Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is answered here.")
    return path, None


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
