"""The page that Prometheus reads, in the text format or OpenMetrics, served on a port of its own."""

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final, NamedTuple, NoReturn

import trio
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics_text
from prometheus_client.registry import Collector

from relay.metrics.connection_metrics import CONNECTIONS, TRAFFIC
from relay.metrics.definition import Definition, Kind, Value
from relay.metrics.histogram import Histogram
from relay.metrics.process_metrics import PROCESS
from relay.metrics.snapshot import take_snapshot
from relay.metrics.storage_metrics import STORAGE
from relay.services import Services
from relay.socket.listeners import BREATHER, EXHAUSTED

PATH: Final = b"/metrics"
SCRAPERS: Final = 4
"""Served at once. A few more wait in the kernel."""
BACKLOG: Final = 16
REQUEST_BYTES: Final = 8_192
DEADLINE: Final = 5.0
"""Seconds for request and answer: half of what Prometheus waits by default."""
LINGER_BYTES: Final = 65_536
"""Read after the answer: closing with unread data would reset the stream (RFC 9293 section 3.10.7.4)."""

DEFINITIONS: Final[tuple[Definition, ...]] = (*CONNECTIONS, *TRAFFIC, *STORAGE, *PROCESS)
"""Every metric there is, in the order of the page and of docs/metrics.md."""

_END: Final = b"\r\n\r\n"
_OPENMETRICS_END: Final = b"# EOF\n"
_TEXT: Final = "text/plain; charset=utf-8"
_log: Final = logging.getLogger("varde.relay")


class Refusal(NamedTuple):
    """An answer other than the page."""

    status: HTTPStatus
    text: str


async def start_metrics(services: Services, nursery: trio.Nursery) -> str | None:
    """Serve the page if the settings say where, and return the address. Raises OSError when it cannot be had."""
    if services.settings.metrics_bind is None:
        return None
    host, port = services.settings.metrics_bind
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
                if services.settings.strict:
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
        page, media_type = await render_page(services, openmetrics=b"application/openmetrics-text" in head)
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


class _One(Collector):
    """One metric, as the library's writers take it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


async def render_page(services: Services, *, openmetrics: bool) -> tuple[bytes, str]:
    """Return all metrics as they are now, and the media type of the text."""
    snapshot = await take_snapshot(services.hub)
    parts = []
    for definition in DEFINITIONS:
        value = definition.read(services, snapshot)
        if value is not None:
            one = _One(_family(definition, value))
            text: bytes = (openmetrics_text.generate_latest if openmetrics else generate_latest)(one)
            parts.append(text.removesuffix(_OPENMETRICS_END))
            await trio.lowlevel.checkpoint()
    if openmetrics:
        return b"".join([*parts, _OPENMETRICS_END]), openmetrics_text.CONTENT_TYPE_LATEST
    return b"".join(parts), CONTENT_TYPE_PLAIN_0_0_4


def _family(definition: Definition, value: Value) -> Metric:
    by_label = value if isinstance(value, Mapping) else {None: value}
    labels = [definition.label] if definition.label else []
    match definition.kind:
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(definition.name, definition.meaning, labels=labels)
            for word, each in by_label.items():
                assert isinstance(each, Histogram)
                histogram.add_metric([word] if word else [], each.buckets, each.total)
            return histogram
        case Kind.COUNTER | Kind.GAUGE:
            family = (CounterMetricFamily if definition.kind is Kind.COUNTER else GaugeMetricFamily)(
                definition.name, definition.meaning, labels=labels
            )
            for word, each in by_label.items():
                assert not isinstance(each, Histogram)
                family.add_metric([word] if word else [], each)
            return family
