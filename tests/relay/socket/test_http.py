"""The HTTP face, as plain bytes: the upgrade, health and readiness, and clean errors."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.cast import alice, alice_laptop, bob, bob_phone
from tests.relay.memory_node import Backend, MemoryNode, open_node, open_room

UPGRADE = (
    "GET /v1/relay HTTP/1.1",
    "Host: relay.test",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Protocol: varde.v2",
)


async def ask(node: MemoryNode, *lines: str, address: str = "192.0.2.1") -> str:
    """Send a request and return the whole answer."""
    stream = node.open_stream(address)
    await stream.send_all("\r\n".join([*lines, "", ""]).encode())
    return await answer_of(stream)


async def answer_of(stream: trio.abc.ReceiveStream) -> str:
    """Read until the relay has said everything, or has upgraded."""
    answer = b""
    while b" 101 " not in answer:
        received = await stream.receive_some(65_536)
        if not received:
            break
        answer += received
    return answer.decode()


def status(answer: str) -> int:
    """The status code."""
    return int(answer.split(" ", 2)[1])


async def test_the_upgrade_selects_our_subprotocol_and_no_extension(node: MemoryNode) -> None:
    """Compression costs memory and ciphertext does not compress: it is never accepted."""
    answer = await ask(node, *UPGRADE, "Sec-WebSocket-Extensions: permessage-deflate")
    assert status(answer) == 101
    assert "Sec-WebSocket-Protocol: varde.v2" in answer
    assert "Extensions" not in answer


async def test_health_and_readiness_are_answered(node: MemoryNode) -> None:
    """A load balancer learns that the node lives and that it takes connections."""
    for path in ("/v1/health", "/v1/ready", "/v1/health?verbose=1"):
        assert status(await ask(node, f"GET {path} HTTP/1.1", "Host: relay.test")) == 200


async def test_a_draining_node_is_alive_and_not_ready(node: MemoryNode) -> None:
    """Nobody new is sent to a node that is going down."""
    node.services.draining.set()
    assert status(await ask(node, "GET /v1/health HTTP/1.1")) == 200
    assert status(await ask(node, "GET /v1/ready HTTP/1.1")) == 503


async def test_a_node_without_its_database_is_not_ready_after_a_while(node: MemoryNode, backend: Backend) -> None:
    """A short outage is waited for, a lasting one is said, and its end is noticed without anybody's help."""
    backend.interference.unavailable = True
    node.services.outage.failed()
    assert node.services.ready
    await trio.sleep(node.services.settings.outage_patience + 1)  # in time that jumps
    assert status(await ask(node, "GET /v1/ready HTTP/1.1")) == 503
    backend.interference.unavailable = False
    await trio.sleep(3)  # longer than the node waits to ask again, in time that jumps
    assert status(await ask(node, "GET /v1/ready HTTP/1.1")) == 200


WRONG = [
    pytest.param(("GET / HTTP/1.1",), 404, id="path"),
    pytest.param(("GET /v1/relay/ HTTP/1.1",), 404, id="slash"),
    pytest.param(("POST /v1/relay HTTP/1.1",), 405, id="method"),
    pytest.param(("DELETE /v1/health HTTP/1.1",), 405, id="method-of-health"),
    pytest.param(("GET /v1/relay HTTP/1.1", "Host: relay.test"), 426, id="no-upgrade"),
    pytest.param(UPGRADE[:-1], 400, id="no-subprotocol"),
    pytest.param((*UPGRADE[:-1], "Sec-WebSocket-Protocol: other.v1"), 400, id="other-subprotocol"),
    pytest.param((*UPGRADE[:-2], UPGRADE[-1], "Sec-WebSocket-Version: 8"), 400, id="old-websocket"),
    pytest.param((*UPGRADE[:4], *UPGRADE[5:]), 400, id="no-key"),
    pytest.param((*UPGRADE, "Content-Length: 5"), 400, id="body"),
    pytest.param((*UPGRADE, "Transfer-Encoding: chunked"), 400, id="chunked"),
    pytest.param(("GET /" + "a" * 9_000 + " HTTP/1.1",), 414, id="long-path"),
    pytest.param((*UPGRADE, "X: " + "a" * 9_000), 431, id="long-header"),
    pytest.param((*UPGRADE, *(f"X-{number}: y" for number in range(200))), 431, id="many-headers"),
    pytest.param(("HELO relay.test",), 400, id="mail"),
    pytest.param(("\x16\x03\x01\x02\x00\x01",), 400, id="tls"),
    pytest.param(("GET /v1/relay HTTP/2.0",), 400, id="http2"),
]


@pytest.mark.parametrize(("lines", "expected"), WRONG)
async def test_everything_else_is_a_clean_error(node: MemoryNode, lines: tuple[str, ...], expected: int) -> None:
    """Whatever else is sent gets a status that fits, and the connection is closed."""
    answer = await ask(node, *lines)
    assert status(answer) == expected
    assert "connection: close" in answer.lower()


async def test_a_request_that_never_ends_is_timed_out(node: MemoryNode) -> None:
    """A client that sends its headers a byte at a time has ten seconds for all of them."""
    stream = node.open_stream()
    await stream.send_all(b"GET /v1/relay HTTP/1.1\r\nHost: ")
    assert status(await answer_of(stream)) == 408


async def test_handshakes_in_flight_are_bounded(backend: Backend) -> None:
    """At the bound, newcomers are turned away with a time, before any crypto; those under way go on."""
    await open_room(backend, alice, bob)
    async with open_node(backend, handshakes=1) as node:
        first = node.open_client(alice_laptop)
        await first.upgrade()
        answer = await ask(node, *UPGRADE)
        assert status(answer) == 503
        assert "Retry-After: " in answer
        await first.send_message(first.session.open())
        await first.receive_many(1)
        await node.connect_client(bob_phone)


async def test_handshakes_of_one_address_are_bounded(backend: Backend) -> None:
    """Silent peers of one network hold its own places and nobody else's, and only until the deadline."""
    async with open_node(backend, handshakes=3, handshakes_per_address=2) as node:
        held = [node.open_stream(address) for address in ("2001:db8::1", "2001:db8::2")]
        for stream in held:
            await stream.send_all("\r\n".join([*UPGRADE, "", ""]).encode())
            assert status(await answer_of(stream)) == 101
        answer = await ask(node, *UPGRADE, address="2001:db8::3")
        assert status(answer) == 503
        assert "Retry-After: " in answer
        assert status(await ask(node, *UPGRADE, address="192.0.2.2")) == 101
        await trio.sleep(node.services.settings.handshake_deadline + 1)  # in time that jumps
        assert status(await ask(node, *UPGRADE, address="2001:db8::3")) == 101


async def test_clients_behind_a_load_balancer_are_counted_apart(backend: Backend) -> None:
    """What the balancer saw counts, not the balancer; and what a client claims by itself does not."""
    async with open_node(backend, proxies=1, handshakes_per_address=1, strangers_per_address=1) as node:
        for client, expected in (("192.0.2.1", 101), ("192.0.2.2", 101), ("192.0.2.2", 503)):
            stream = node.open_stream("10.0.0.1")
            forwarded = f"X-Forwarded-For: 203.0.113.{expected}, {client}"
            await stream.send_all("\r\n".join([*UPGRADE, forwarded, "", ""]).encode())
            assert status(await answer_of(stream)) == expected


async def test_a_place_is_taken_before_the_upgrade_is_written(backend: Backend) -> None:
    """Who asks at the same moment is not let in together: no answer has gone out when the second one knocks."""
    async with open_node(backend, handshakes_per_address=1) as node:
        both = [node.open_stream() for _ in range(2)]
        for stream in both:
            await stream.send_all("\r\n".join([*UPGRADE, "", ""]).encode())
        assert sorted([status(await answer_of(stream)) for stream in both]) == [101, 503]


async def test_strangers_are_bounded(backend: Backend) -> None:
    """Who connects and asks for nothing is counted too: beyond the bounds a connection is closed as it comes."""
    async with open_node(backend, strangers=3, strangers_per_address=2) as node:
        silent = [node.open_stream(address) for address in ("192.0.2.1", "192.0.2.1")]
        await wait_all_tasks_blocked()
        assert await answer_of(node.open_stream("192.0.2.1")) == ""
        assert status(await ask(node, *UPGRADE, address="192.0.2.2")) == 101
        assert await answer_of(node.open_stream("192.0.2.3")) == ""
        for stream in silent:
            await stream.aclose()
        await wait_all_tasks_blocked()
        assert status(await ask(node, *UPGRADE, address="192.0.2.1")) == 101


async def test_who_said_who_it_is_is_no_stranger(backend: Backend) -> None:
    """An established connection, and one that hung up, leave their room to the next."""
    await open_room(backend, alice, bob)
    async with open_node(backend, strangers=1, handshakes=1) as node:
        await node.connect_client(alice_laptop)
        await node.connect_client(bob_phone)
        assert len(node.services.hub) == 2


async def test_a_late_loop_turns_newcomers_away(node: MemoryNode) -> None:
    """A node that cannot keep up takes on nothing more."""
    node.services.admission.lateness = 5.0
    assert status(await ask(node, *UPGRADE)) == 503
    await trio.sleep(10)  # of keeping up again, in time that jumps
    assert status(await ask(node, *UPGRADE)) == 101


async def test_connects_of_one_address_are_bounded(backend: Backend) -> None:
    """One address, or one subscriber's IPv6 network, cannot take what is there for all."""
    async with open_node(backend, connects_per_second=0.1) as node:
        for crowd, other in (("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:0:1::1")):
            assert status(await ask(node, *UPGRADE, address=crowd)) == 101
            assert status(await ask(node, *UPGRADE, address=crowd)) == 503
            assert status(await ask(node, *UPGRADE, address=other)) == 101
        assert status(await ask(node, *UPGRADE, address="2001:db8::ffff")) == 503
        assert status(await ask(node, *UPGRADE, address="::ffff:192.0.2.1")) == 503


async def test_close_overloaded(backend: Backend) -> None:
    """A full node takes nobody new, but a device may always replace its own older connection."""
    await open_room(backend, alice, bob)
    async with open_node(backend, connections=1) as node:
        await node.connect_client(alice_laptop)
        late = node.open_client(bob_phone)
        await late.upgrade()
        await late.send_message(late.session.open())
        assert (await late.wait_closed()).code == 4002
        await node.connect_client(alice_laptop)
        await wait_all_tasks_blocked()
        assert len(node.services.hub) == 1
