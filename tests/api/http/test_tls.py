"""The API speaks TLS itself: to those who do, and nobody else holds anything up."""

import ssl
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from hypercorn.typing import ASGIFramework

from api.app import create_routes
from api.http.serving import serve_api
from api.metrics.counters import ApiMetrics
from settings.api import ApiSettings, Timeouts
from settings.tls import API, TlsFiles
from supervisor.authority import make_files
from tls.certificate import TlsCertificate
from varde.clock import now_ms

SOON = 0.3


@pytest.fixture
def made(tmp_path: Path) -> tuple[TlsFiles, Path]:
    """A certificate for this machine, and its authority."""
    return make_files(tmp_path, "127.0.0.1")


async def start(
    nursery: trio.Nursery, made: tuple[TlsFiles, Path], metrics: ApiMetrics | None = None, connections: int = 9
) -> str:
    """Serve with TLS; return the address."""
    config = ApiSettings(port=0, timeouts=Timeouts(head=SOON, keep_alive=SOON), connections=connections)
    app: ASGIFramework = create_routes()
    tls = TlsCertificate(TlsFiles(made[0].certificate, made[0].key, variables=API), now_ms).make_context
    address: str = await nursery.start(partial(serve_api, config, app, metrics or ApiMetrics(), tls=tls))
    return address


async def test_requests_are_answered_over_tls(made: tuple[TlsFiles, Path]) -> None:
    """Version 1.3, and several on one connection."""
    async with trio.open_nursery() as nursery:
        address = await start(nursery, made)
        async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=made[1]), trust_env=False) as client:
            for _ in range(2):
                answer = await client.get(f"https://{address}/v1/openapi.json")
                assert answer.status_code == 200
                assert answer.extensions["network_stream"].get_extra_info("ssl_object").version() == "TLSv1.3"
        nursery.cancel_scope.cancel()


NO_TLS = b"", b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x40\x00\x01", b"\0" * 9


async def hear(address: str, said: bytes) -> bytes:
    """Say something, and return what comes until the end."""
    host, port = address.rsplit(":", 1)
    heard = b""
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        with trio.fail_after(20), suppress(trio.BrokenResourceError):
            if said:
                await stream.send_all(said)
            while data := await stream.receive_some():
                heard += bytes(data)
    return heard


@pytest.mark.parametrize("said", NO_TLS)
async def test_who_speaks_no_tls_is_cut_and_told_nothing(made: tuple[TlsFiles, Path], said: bytes) -> None:
    """At the deadline of a head at the latest."""
    async with trio.open_nursery() as nursery:
        assert b"HTTP" not in await hear(await start(nursery, made), said)
        nursery.cancel_scope.cancel()


async def test_one_too_many_costs_no_handshake(made: tuple[TlsFiles, Path]) -> None:
    """It is closed as it comes, while the first has not said anything yet."""
    async with trio.open_nursery() as nursery:
        metrics = ApiMetrics()
        address = await start(nursery, made, metrics, connections=1)
        host, port = address.rsplit(":", 1)
        async with await trio.open_tcp_stream(host, int(port)):
            assert await hear(address, b"") == b""
        assert metrics.refused_connections == 1
        nursery.cancel_scope.cancel()
