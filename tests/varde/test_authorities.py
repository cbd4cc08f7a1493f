"""Whom the SDK believes that a server is who it says: the usual authorities, or those of SSL_CERT_FILE."""

import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio
from websockets.exceptions import InvalidStatus

from chaos.certificates import Authority, issue
from varde.errors import Unreachable
from varde.http import Http
from varde.reconnector import dial


async def answer(stream: trio.abc.Stream) -> None:
    """Read one request, say that there is nothing, and hang up."""
    try:
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await stream.aclose()
    except trio.BrokenResourceError:
        return  # the client did not believe it


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A server on this machine whose authority nobody knows yet; `trust` makes it known."""
    authority = Authority()
    (tmp_path / "authority.pem").write_bytes(authority.pem())
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issue(authority, tmp_path))
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, answer, 0, context, host="127.0.0.1", https_compatible=True)
        (listener,) = await nursery.start(serve)
        yield f"127.0.0.1:{listener.transport_listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def trust(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make the authority known as one does in development."""
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "authority.pem"))


async def test_the_relay_has_to_be_vouched_for(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A certificate of an unknown authority ends the dialling, and no longer does once that authority is trusted."""
    for expected in (trio.BrokenResourceError, InvalidStatus):
        with pytest.raises(expected):
            async with dial(f"wss://{place}/v1/relay"):
                pass
        trust(monkeypatch, tmp_path)


async def test_the_api_has_to_be_vouched_for(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same for the API."""
    for expected in ("its certificate is not trusted", "answered 404"):
        async with Http(f"https://{place}") as http:
            with pytest.raises(Unreachable, match=expected):
                await http.call("POST", "/v1/auth/codes", type(None))
        trust(monkeypatch, tmp_path)
