"""What the environment says about the way to a server: proxies, authorities, and words for why it was not reached."""

import socket
import ssl
from pathlib import Path

import httpx
import pytest
import trio

from supervisor.ports import free_port
from varde import network
from varde.errors import Unreachable, VardeError
from varde.http import Http
from varde.network import origin_of, proxy_of, tls_context, why_unreachable
from varde.reconnector import dial

API = "https://api.example.org"
RELAY = "wss://relay.example.org/v1/relay"
SECRET = "tops3cret"


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no authority of the machine's own."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("named", "url", "expected"),
    [
        ({}, API, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, API, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128"}, RELAY, "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://api.example.org", None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "ws://relay.example.org", "http://proxy:3128"),
        ({"ALL_PROXY": "http://proxy"}, API, "http://proxy"),
        ({"ALL_PROXY": "socks://127.0.0.1:9050"}, RELAY, "socks5h://127.0.0.1:9050"),
        ({"ALL_PROXY": "socks5://127.0.0.1:9050"}, API, "socks5h://127.0.0.1:9050"),
        ({"ALL_PROXY": ""}, API, None),
        ({"ALL_PROXY": "http://proxy", "NO_PROXY": ".example.org"}, API, None),
        ({"ALL_PROXY": "http://proxy", "NO_PROXY": "[::1]"}, API, "http://proxy"),
        ({"ALL_PROXY": "http://proxy", "NO_PROXY": "[::1],.example.org"}, API, None),
        ({"ALL_PROXY": "http://proxy"}, "http://127.0.0.1:8400", None),
        ({"ALL_PROXY": "http://proxy"}, "http://[::1]:8400", None),
        ({"ALL_PROXY": "http://proxy"}, "ws://localhost:8401", None),
    ],
)
def test_a_proxy_is_taken_as_it_is_meant(
    monkeypatch: pytest.MonkeyPatch, named: dict[str, str], url: str, expected: str | None
) -> None:
    """For calls and for the relay alike; never for this machine."""
    monkeypatch.setattr(network, "find_spec", lambda _: object())
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(url) == expected


@pytest.mark.parametrize(
    "proxy",
    ["ftp://proxy", "proxy:3128", f"http://u:{SECRET}@", f"quic://u:{SECRET}@proxy", "http://proxy:x", "http://["],
)
async def test_a_proxy_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """In words, by whoever needs it, and its password is not shown."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(VardeError) as called:
        Http(API)
    with pytest.raises(VardeError) as dialled:
        dial(RELAY)
    assert called.value.code == dialled.value.code == "bad-proxy"
    assert SECRET not in f"{called.value}{called.value.advice}"


async def test_socks_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes with an extra."""
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:9050")
    monkeypatch.setattr(network, "find_spec", lambda _: None)
    with pytest.raises(VardeError) as caught:
        Http(API)
    assert "varde[socks]" in caught.value.advice


async def test_authorities_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that is missing, and one that holds no certificate."""
    for path, said in ((tmp_path / "gone.pem", "cannot be read"), (tmp_path / "empty.pem", "holds no certificates")):
        (tmp_path / "empty.pem").write_text("nothing")
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        with pytest.raises(VardeError, match=said) as caught:
            Http(API)
        assert str(path) in str(caught.value)


def test_the_machines_own_authorities_are_believed_too() -> None:
    """Besides Mozilla's: a company's is known to the machine only."""
    assert len(tls_context().get_ca_certs()) >= 100


async def test_why_a_server_was_not_reached() -> None:
    """Each in a few words, with the server's name and nothing else of the URL."""
    port = free_port()
    async with Http(f"http://user:{SECRET}@127.0.0.1:{port}/path") as http:
        with pytest.raises(Unreachable) as caught:
            await http.call("POST", "/", type(None))
    assert str(caught.value) == f"http://127.0.0.1:{port} was not reached: nothing listens there"
    for error, said in (
        (httpx.ReadTimeout("x"), "it did not answer in time"),
        (trio.TooSlowError(), "it did not answer in time"),
        (socket.gaierror(-2, "x"), "its name is not known"),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "it does not speak TLS there"),
        (OSError("x"), "it did not answer"),
    ):
        wrapped = httpx.ConnectError("wrapped")
        wrapped.__cause__ = ExceptionGroup("several addresses", [error])
        assert why_unreachable(wrapped).words == said


def test_a_server_is_named_without_secrets() -> None:
    """No user, no password, no path."""
    assert origin_of(f"https://u:{SECRET}@[::1]:8400/v1?x=1") == "https://[::1]:8400"
