"""The PROXY protocol: believed from whom the settings name, whole or refused, and nothing behind it is taken."""

import ipaddress
from contextlib import suppress
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from relay.metrics.labels import Hostility
from relay.socket.proxy_protocol import SIGNATURE, V1_BYTES, ProxyHeader, is_trusted, parse_proxy_header
from tests.cast import alice, alice_laptop, settle
from tests.relay.memory_node import ADDRESS, Backend, open_node
from varde_contract.errors import PeerFault

LINE4 = b"PROXY TCP4 203.0.113.7 198.51.100.1 51000 443\r\n"
LINE6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 51000 443\r\n"


def v2(command: int, family: int, body: bytes, length: int | None = None) -> bytes:
    """A header of version 2."""
    return SIGNATURE + bytes((command, family)) + (len(body) if length is None else length).to_bytes(2, "big") + body


PORTS = (51_000).to_bytes(2, "big") + (443).to_bytes(2, "big")
FOUR = v2(0x21, 0x11, ipaddress.ip_address("203.0.113.7").packed + bytes(4) + PORTS)
SIX = v2(0x21, 0x21, ipaddress.ip_address("2001:db8::7").packed + bytes(16) + PORTS + b"\x04\x00\x01\x00")
GOOD = [
    (LINE4, "203.0.113.7"),
    (LINE6, "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN whatever it likes\r\n", None),
    (FOUR, "203.0.113.7"),
    (SIX, "2001:db8::7"),
    (v2(0x20, 0x00, b""), None),
    (v2(0x20, 0x11, bytes(12)), None),
    (v2(0x21, 0x00, b"ignored"), None),
]
BAD = [
    b"GET /v1/relay HTTP/1.1\r\n",
    b"\x16\x03\x01",
    b"proxy TCP4 203.0.113.7 198.51.100.1 51000 443\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 51000 443\r\n",
    b"PROXY TCP4 203.0.113.777 198.51.100.1 51000 443\r\n",
    b"PROXY UDP4 203.0.113.7 198.51.100.1 51000 443\r\n",
    b"PROXY TCP4 203.0.113.7\r\n",
    b"PROXY TCP4 203.0.113.7 198.51.100.1 51000 443 x\r\n",
    b"PROXY " + b"x" * V1_BYTES,
    v2(0x31, 0x11, bytes(12)),
    v2(0x22, 0x11, bytes(12)),
    v2(0x21, 0x12, bytes(12)),
    v2(0x21, 0x31, bytes(216)),
    v2(0x21, 0x11, bytes(11)),
    v2(0x21, 0x11, b"", length=60_000),
]


@pytest.mark.parametrize(("header", "address"), GOOD)
def test_a_header_is_read_whole(header: bytes, address: str | None) -> None:
    """At every cut it waits for the rest; then it names the client, and how long it is itself."""
    assert all(parse_proxy_header(header[:end]) is None for end in range(len(header)))
    assert parse_proxy_header(header + b"GET /v1/relay") == ProxyHeader(len(header), address)


@pytest.mark.parametrize("received", BAD)
def test_anything_else_is_refused(received: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(PeerFault):
        parse_proxy_header(received)


@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_no_bytes_surprise_the_parser(rest: bytes, start: bytes) -> None:
    """Whatever comes is a header, the beginning of one, or refused."""
    try:
        header = parse_proxy_header(start + rest)
    except PeerFault:
        return
    assert header is None or header.size <= len(start + rest)


def test_only_the_named_are_trusted() -> None:
    """By network, also where IPv4 comes in the clothes of IPv6."""
    networks = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32")]
    assert [is_trusted(address, networks) for address in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::9")] == [True] * 3
    assert not any(is_trusted(address, networks) for address in ("11.0.0.1", "::1", "fe80::1%eth0"))


TRUSTED: dict[str, Any] = {"proxy_protocol": (ipaddress.ip_network(f"{ADDRESS}/32"),)}


async def test_a_client_behind_a_trusted_balancer_is_itself(backend: Backend) -> None:
    """Its limits are those of its own address, and it gets in, however the header is cut."""
    async with open_node(backend, handshakes_per_address=0, **TRUSTED) as node:
        stream = node.open_stream()
        for piece in (FOUR[:5], FOUR[5:], b"GET /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n"):
            await stream.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
    async with open_node(backend, **TRUSTED) as node:
        await settle(backend.stores, alice)
        client = node.open_client(alice_laptop)
        await client.stream.send_all(SIX)
        await client.connect()
        assert len(node.services.hub) == 1


@pytest.mark.parametrize("received", [b"GET /v1/ready HTTP/1.1\r\nHost: x\r\n\r\n", BAD[3], LINE4[:10]])
async def test_a_trusted_balancer_that_says_nothing_is_refused(backend: Backend, received: bytes) -> None:
    """Its own address would be everybody's: the connection ends without an answer, also when it never goes on."""
    async with open_node(backend, **TRUSTED) as node:
        stream = node.open_stream()
        await stream.send_all(received)
        with suppress(trio.BrokenResourceError):  # a reset, because what came was not read
            assert await stream.receive_some() == b""
        assert node.services.metrics.hostile[Hostility.NO_PROXY_HEADER] == 1


async def test_nobody_else_is_believed(backend: Backend) -> None:
    """A PROXY header from anywhere else is no HTTP request."""
    async with open_node(backend, **TRUSTED) as node:
        stream = node.open_stream("198.51.100.9")
        await stream.send_all(LINE4)
        await stream.send_eof()
        assert not (await stream.receive_some()).startswith(b"HTTP/1.1 2")
        assert node.services.metrics.hostile[Hostility.NO_PROXY_HEADER] == 0
