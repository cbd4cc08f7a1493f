"""The server against clients that do not behave: nothing they send, or leave out, ends it or holds it up."""

from dataclasses import replace

import pytest
import trio
import trio.testing

from api.app import create_routes
from api.http.requests import SIGN_IN_BODY_BYTES, SIGN_IN_PATH
from api.operation import DECLARED
from settings.api import ApiSettings, Timeouts
from tests.api.memory_api import CONFIG, MemoryApi, open_memory_api
from tests.api.raw_http import get, open_connection
from tests.cast import alice_phone
from varde_contract.limits import REST_BODY_BYTES
from varde_contract.refusals import RefusalCode

SOON = 0.2
UNREAD = get("/v1/openapi.json") * 200
JSON = "Content-Type: application/json"


async def alive(api: MemoryApi) -> bool:
    """Whether the server answers somebody else."""
    return (await api.ask("GET", "/v1/health")).status_code == 200


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


@pytest.mark.parametrize(
    "request_bytes",
    [
        get("/v1/health", *UPGRADE, "Content-Length: 1") + b"x",
        get("/v1/health", *UPGRADE, "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n",
        get("/v1/health", *UPGRADE),
        get("/v1/health", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    ],
)
async def test_an_upgrade_is_ignored_and_ends_nothing(api: MemoryApi, request_bytes: bytes) -> None:
    """One upgrade request with a body byte used to end the whole process; here it is a GET like any other."""
    async with open_connection(api) as raw:
        await raw.send(request_bytes)
        assert (await raw.answer()).status == 200
    assert await alive(api)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\r\n\r\n\x00\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v1/health\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\n\r\n",
        b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost: x\nX-Smuggled: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n bad: fold\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_refusal_malformed_http(api: MemoryApi, rubbish: bytes) -> None:
    """What is not HTTP is told so as a problem, or cut; the server lives on."""
    async with open_connection(api) as raw:
        await raw.send(rubbish)
        with trio.fail_after(10):
            read = await raw.read_to_end()
    assert read.startswith(b"HTTP/1.1 4")
    assert b"application/problem+json" in read
    assert b"Traceback" not in read
    assert await alive(api)


async def test_refusal_too_large_head(api: MemoryApi) -> None:
    """A head of headers without end is refused when it passes 32 KiB."""
    async with open_connection(api) as raw:
        await raw.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 40_000)
        answer = await raw.answer()
    assert answer.status == 431
    assert answer.problem.code is RefusalCode.TOO_LARGE


@pytest.mark.parametrize("framing", [f"Content-Length: {REST_BODY_BYTES + 1}", "Transfer-Encoding: chunked"])
async def test_refusal_too_large_body(api: MemoryApi, framing: str) -> None:
    """A body over one MiB is refused, announced or not, and a client that goes on sending still reads why."""
    chunk = b"a" * 65_536
    pieces = [b"10000\r\n" + chunk + b"\r\n" if "chunked" in framing else chunk] * 20
    async with open_connection(api) as raw:
        await raw.send(f"POST /v1/auth/codes HTTP/1.1\r\nHost: x\r\n{JSON}\r\n{framing}\r\n\r\n".encode())
        for piece in pieces[: REST_BODY_BYTES // len(chunk) + 1]:
            await raw.send(piece)
        answer = await raw.answer()
    assert answer.problem.code is RefusalCode.TOO_LARGE
    assert await alive(api)


async def test_a_body_of_exactly_the_limit_is_read(api: MemoryApi) -> None:
    """The limit is what it says: one MiB is refused only for what it says, not for its size."""
    body = b'{"group": "' + b"a" * (REST_BODY_BYTES - 13) + b'"}'
    assert len(body) == REST_BODY_BYTES
    headers = {"Content-Type": "application/json"}
    response = await api.ask("POST", "/v1/messages", by=alice_phone, content=body, headers=headers)
    assert response.json()["code"] == RefusalCode.MALFORMED


@pytest.mark.parametrize("path", ["/v1/auth/codes", "/v1/auth/session", "/v1/auth/session/refresh"])
@pytest.mark.parametrize("framing", [f"Content-Length: {SIGN_IN_BODY_BYTES + 1}", "Transfer-Encoding: chunked"])
async def test_refusal_too_large_body_of_a_stranger(api: MemoryApi, path: str, framing: str) -> None:
    """Who has shown no token cannot have the server keep more than a few kilobytes, announced or not."""
    piece = b"a" * (SIGN_IN_BODY_BYTES + 1)
    async with open_connection(api) as raw:
        await raw.send(f"POST {path} HTTP/1.1\r\nHost: x\r\n{JSON}\r\n{framing}\r\n\r\n".encode())
        if "chunked" in framing:
            await raw.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        answer = await raw.answer()
    assert answer.problem.code is RefusalCode.TOO_LARGE


@pytest.mark.parametrize("beginning", [b"G", b"GET /v1/health HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_refusal_too_slow_head(beginning: bytes) -> None:
    """A head that trickles in is refused when its time is up, however often a byte comes."""
    async with open_memory_api(timeouts=Timeouts(head=SOON)) as api, open_connection(api) as raw:
        await raw.send(beginning)

        async def trickle() -> None:
            while True:
                await raw.send(b"a")
                await trio.sleep(SOON / 10)  # the client's own pace is what this is about

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            answer = await raw.answer()
            nursery.cancel_scope.cancel()
    assert answer.problem.code is RefusalCode.TOO_SLOW


async def test_refusal_too_slow_body() -> None:
    """A body that does not come is refused when its time is up."""
    async with open_memory_api(timeouts=Timeouts(body=SOON)) as api, open_connection(api) as raw:
        await raw.send(f"POST /v1/auth/codes HTTP/1.1\r\nHost: x\r\n{JSON}\r\nContent-Length: 9\r\n\r\n".encode())
        answer = await raw.answer()
        assert answer.problem.code is RefusalCode.TOO_SLOW
        assert await alive(api)


async def test_a_connection_that_never_says_anything_is_closed() -> None:
    """Opening connections and leaving them holds no place for long."""
    async with open_memory_api(timeouts=Timeouts(head=SOON)) as api, open_connection(api) as raw:
        with trio.fail_after(10):
            assert await raw.read_to_end() == b""


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    """Between two requests there is nothing to refuse: the connection just ends."""
    async with open_memory_api(timeouts=Timeouts(keep_alive=SOON)) as api, open_connection(api) as raw:
        await raw.send(get("/v1/health"))
        assert (await raw.answer()).status == 200
        with trio.fail_after(10):
            assert await raw.read_to_end() == b""


async def test_requests_one_after_the_other_without_waiting_are_answered_in_order(api: MemoryApi) -> None:
    """Pipelining: each answer comes once, in the order of the requests."""
    async with open_connection(api) as raw:
        await raw.send(get("/v1/health") + get("/v1/nothing") + get("/v1/relay") + get("/v1/health"))
        assert [(await raw.answer()).status for _ in range(4)] == [200, 404, 200, 200]


@pytest.mark.parametrize("config", [replace(CONFIG, connections=2), replace(CONFIG, connections_per_address=2)])
async def test_refusal_overloaded_when_there_are_too_many_connections(config: ApiSettings) -> None:
    """One client too many, of all or of one address, is told to come back, and those who are in are served."""
    async with open_memory_api(config) as api:
        async with open_connection(api) as first, open_connection(api) as second:
            for raw in (first, second):
                await raw.send(get("/v1/health"))
                assert (await raw.answer()).status == 200
            async with open_connection(api) as third:
                answer = await third.answer()
                assert answer.problem.code is RefusalCode.OVERLOADED
                assert answer.headers["retry-after"] == "1"
            await first.send(get("/v1/health"))
            assert (await first.answer()).status == 200
        with trio.fail_after(5):
            while not await serves(api):
                await trio.lowlevel.checkpoint()


async def test_behind_proxies_one_address_is_many_clients() -> None:
    """What one address may open does not bind a load balancer, whose address all clients have."""
    async with (
        open_memory_api(replace(CONFIG, connections_per_address=1, proxies=1)) as api,
        open_connection(api) as first,
        open_connection(api) as second,
    ):
        for raw in (first, second):
            await raw.send(get("/v1/health"))
            assert (await raw.answer()).status == 200


def test_every_body_that_needs_no_token_is_a_small_one() -> None:
    """What anybody may send a body to lies where bodies are bounded for strangers."""
    app = create_routes()
    declared = [
        (rule.rule, getattr(app.view_functions[rule.endpoint], DECLARED, None)) for rule in app.url_map.iter_rules()
    ]
    public = [path for path, each in declared if each is not None and not each.needs_token and each.body]
    assert len(public) == 3
    assert all(path.startswith(SIGN_IN_PATH) for path in public)


async def serves(api: MemoryApi) -> bool:
    """Whether there is a place again."""
    async with open_connection(api) as raw:
        await raw.send(get("/v1/health"))
        return (await raw.answer()).status == 200
