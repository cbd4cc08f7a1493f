"""The port that Prometheus asks at, as plain bytes over TCP: one page, clean errors, and nobody holds it up."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from observability.serving import DEADLINE, REQUEST_BYTES, SCRAPERS
from relay.metrics.exposition import start_node_metrics
from tests.relay.memory_node import Backend, MemoryNode, open_node
from tests.relay.metrics_reader import parse


@asynccontextmanager
async def open_port(node: MemoryNode) -> AsyncIterator[str]:
    """Serve the metrics of a node; yield the address."""
    async with trio.open_nursery() as nursery:
        address = await start_node_metrics(node.services, nursery)
        assert address is not None
        yield address
        nursery.cancel_scope.cancel()


@pytest.fixture
async def port(backend: Backend) -> AsyncIterator[str]:
    """The metrics of a node, on a port of their own."""
    async with open_node(backend, metrics_bind=("127.0.0.1", 0)) as node, open_port(node) as address:
        yield address


async def connect(address: str) -> trio.SocketStream:
    """Open a bare connection."""
    host, _, port = address.rpartition(":")
    return await trio.open_tcp_stream(host.strip("[]"), int(port))


async def read_all(stream: trio.SocketStream) -> bytes:
    """Read until the node hangs up."""
    answer = b""
    while received := await stream.receive_some():
        answer += received
    return answer


async def ask(address: str, request: bytes) -> bytes:
    """Send a request and return the whole answer."""
    async with await connect(address) as stream:
        await stream.send_all(request)
        return await read_all(stream)


def status(answer: bytes) -> int:
    """The status code."""
    return int(answer.split(b" ", 2)[1])


async def test_the_page_is_served(port: str) -> None:
    """In the text format, with its length, and the connection is closed."""
    answer = await ask(port, b"GET /metrics HTTP/1.1\r\nHost: relay.test\r\n\r\n")
    head, _, page = answer.decode().partition("\r\n\r\n")
    assert status(answer) == 200
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert f"Content-Length: {len(page.encode())}" in head
    assert "Connection: close" in head
    assert parse(page)["varde_relay_scrapes_total", ()] == 1


async def test_life_and_readiness_are_told_apart(backend: Backend) -> None:
    """On the operators' port, too: a node that must not get clients is alive, and says why it does not want any."""
    async with open_node(backend, metrics_bind=("127.0.0.1", 0)) as node, open_port(node) as port:
        assert (await ask(port, b"GET /v1/ready HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\nready\n")
        node.services.draining.set()
        assert status(answer := await ask(port, b"GET /v1/ready HTTP/1.1\r\n\r\n")) == 503
        assert answer.endswith(b"\r\n\r\nnot ready: draining\n")
        assert status(await ask(port, b"GET /v1/health HTTP/1.1\r\n\r\n")) == 200


async def test_openmetrics_is_served_to_who_asks_for_it(port: str) -> None:
    """With its own media type and its end mark."""
    request = b"GET /metrics?a=b HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n\r\n"
    head, _, page = (await ask(port, request)).decode().partition("\r\n\r\n")
    assert "Content-Type: application/openmetrics-text" in head
    assert page.endswith("# EOF\n")
    assert page.count("# EOF") == 1
    assert ("varde_relay_draining", ()) in parse(page, openmetrics=True)


WRONG = [
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", 404, id="path"),
    pytest.param(b"GET /v1/relay HTTP/1.1\r\n\r\n", 404, id="the-other-port"),
    pytest.param(b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405, id="post"),
    pytest.param(b"HEAD /metrics HTTP/1.1\r\n\r\n", 405, id="head"),
    pytest.param(b"GET /metrics HTTP/2\r\n\r\n", 400, id="http2"),
    pytest.param(b"GET  /metrics HTTP/1.1\r\n\r\n", 400, id="spaces"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03\r\n\r\n", 400, id="tls"),
    pytest.param(b"\r\n\r\n", 400, id="nothing"),
    pytest.param(b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 100_000, 431, id="giant-header"),
    pytest.param(b"a" * (REQUEST_BYTES + 1), 431, id="garbage"),
    pytest.param(b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 9_000 + b"\r\n\r\n", 431, id="large-header"),
]


@pytest.mark.parametrize(("request_", "expected"), WRONG)
async def test_everything_else_is_a_clean_error(port: str, request_: bytes, expected: int) -> None:
    """Whatever else is sent gets a status that fits, and no page."""
    answer = await ask(port, request_)
    assert status(answer) == expected
    assert b"Connection: close" in answer
    assert b"varde_relay" not in answer
    assert (b"Allow: GET" in answer) == (expected == 405)


async def test_half_a_request_is_no_request(port: str) -> None:
    """Who hangs up in the middle is told so, and who says nothing at all is told nothing."""
    for said, expected in ((b"GET /metrics HT", b"HTTP/1.1 400 "), (b"", b"")):
        async with await connect(port) as stream:
            await stream.send_all(said)
            await stream.send_eof()
            assert (await read_all(stream)).startswith(expected)


@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\nHost: ", b"GET /"])
async def test_the_slow_lose_their_place(port: str, said: bytes) -> None:
    """As many as are served at once may be silent: after the deadline the next one has its turn."""
    slow = [await connect(port) for _ in range(SCRAPERS)]
    for stream in slow:
        await stream.send_all(said)
    started = trio.current_time()
    assert status(await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")) == 200
    assert trio.current_time() == pytest.approx(started + DEADLINE, abs=0.5)  # of time that jumps
    for stream in slow:
        assert await read_all(stream) == b""
        await stream.aclose()


async def test_who_does_not_read_loses_its_place(port: str) -> None:
    """A page that nobody takes is dropped with the connection."""
    slow = []
    for _ in range(SCRAPERS):
        narrow = trio.socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        host, _, number = port.rpartition(":")
        await narrow.connect((host, int(number)))
        await narrow.send(b"GET /metrics HTTP/1.1\r\n\r\n")
        slow.append(narrow)
    assert status(await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")) == 200
    for narrow in slow:
        narrow.close()


async def test_many_ask_at_once(port: str) -> None:
    """More than are served at once: all get their page, one after the other."""
    answers: list[bytes] = []

    async def one() -> None:
        answers.append(await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n"))

    async with trio.open_nursery() as nursery:
        for _ in range(4 * SCRAPERS):
            nursery.start_soon(one)
    assert [status(answer) for answer in answers] == [200] * (4 * SCRAPERS)


async def test_a_surprise_ends_the_scrape_alone(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    """A fault in what is shown is said in the log, by its name, and the node lives on."""
    async with open_node(backend, strict=False, metrics_bind=("127.0.0.1", 0)) as node, open_port(node) as address:
        del node.services.metrics.pings
        for _ in range(SCRAPERS + 1):
            assert await ask(address, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        assert "a scrape ended with a surprise: AttributeError" in caplog.text
        node.services.metrics.pings = 0
        assert status(await ask(address, b"GET /metrics HTTP/1.1\r\n\r\n")) == 200


async def test_a_node_that_is_told_nothing_listens_nowhere(node: MemoryNode) -> None:
    """Metrics are for who asks for them."""
    async with trio.open_nursery() as nursery:
        assert await start_node_metrics(node.services, nursery) is None
        assert not nursery.child_tasks


async def test_a_taken_port_is_said(backend: Backend, port: str) -> None:
    """A node that was told to show its metrics and cannot does not start, and says where it could not."""
    bind = ("127.0.0.1", int(port.rpartition(":")[2]))
    async with open_node(backend, metrics_bind=bind) as node, trio.open_nursery() as nursery:
        with pytest.raises(OSError, match=f"no metrics can be served at 127.0.0.1, port {bind[1]}"):
            await start_node_metrics(node.services, nursery)
