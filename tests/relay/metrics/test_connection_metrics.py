"""What becomes of connections is counted: each once as it comes, once as it goes."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chaos.certificates import Authority, issue
from domain.people.events import TicketsRevoked
from relay.socket.websocket import SLOW_FRAMES
from settings.tls import TlsFiles
from storage.program import read_clock
from tests.cast import alice, alice_laptop, alice_phone, bob, bob_phone
from tests.ids import id_of
from tests.relay.client import UPGRADE, StreamClient
from tests.relay.memory_node import Backend, MemoryNode, open_node, open_room
from tests.relay.metrics_reader import watch
from tls.certificate import TlsCertificate
from varde_contract import frames as f
from varde_contract.ids import ConversationId
from varde_contract.session import PROTOCOL_VERSION, Pattern

DAY_MS: Final = 24 * 60 * 60 * 1000

Story = Callable[[MemoryNode], Awaitable[None]]


def saying(said: bytes, *, leaving: bool = False) -> Story:
    """Somebody who connects, says this, and listens to the end, or hangs up."""

    async def story(node: MemoryNode) -> None:
        stream = node.open_stream()
        await stream.send_all(said)
        if leaving:
            await wait_all_tasks_blocked()
            await stream.aclose()
        else:
            await read_all(stream)

    return story


async def read_all(stream: trio.SocketStream) -> None:
    """Read to the end, and hang up."""
    async with stream:
        while await stream.receive_some():
            pass


def beginning(first: bytes) -> Story:
    """Somebody who upgrades, and says this instead of a handshake."""

    async def story(node: MemoryNode) -> None:
        client = node.open_client(alice_laptop)
        await client.upgrade()
        await client.stream.send_all(first)
        await client.wait_closed()
        await client.abort()

    return story


async def connect_client(node: MemoryNode) -> None:
    """An honest one."""
    await node.connect_client(alice_laptop)


async def leave_in_the_middle(node: MemoryNode) -> None:
    """Upgrade, and close in good order."""
    client = node.open_client(alice_laptop)
    await client.upgrade()
    await client.close()


async def fail(client: StreamClient) -> None:
    """Go through the handshake as far as it goes."""
    await client.upgrade()
    await client.send_message(client.session.open())
    await client.wait_closed()
    await client.abort()


async def forge(node: MemoryNode) -> None:
    """Show a ticket of somebody else."""
    await fail(node.open_client(alice_laptop, ticket=node.ticket(bob_phone)))


async def come_late(node: MemoryNode) -> None:
    """Show an old ticket."""
    ticket = node.ticket(alice_laptop)
    node.backend.clock.advance(DAY_MS)
    await fail(node.open_client(alice_laptop, ticket=ticket))


async def be_revoked(node: MemoryNode) -> None:
    """Be a revoked device."""
    node.backend.bus.publish_nowait([TicketsRevoked(alice_laptop.id, node.backend.clock.now_ms, final=True)])
    node.backend.clock.advance(1)
    await fail(node.open_client(alice_laptop))


async def say_no_hello(node: MemoryNode) -> None:
    """Shake hands, and say something else than Hello."""
    client = node.open_client(alice_laptop)
    client.session._hello = b"\xc0"
    await fail(client)


async def speak_another_version(node: MemoryNode) -> None:
    """Be of tomorrow."""
    await fail(
        node.open_client(alice_laptop, hello=f.Hello(PROTOCOL_VERSION + 1, node.ticket(alice_laptop), alice_laptop.id))
    )


async def come_during_an_outage(node: MemoryNode) -> None:
    """The database says that it cannot."""
    with node.backend.interference.outage():
        await fail(node.open_client(alice_laptop))


async def come_during_a_silence(node: MemoryNode) -> None:
    """The database says nothing at all: that is not the newcomer's fault."""
    node.backend.interference.silent = True
    await fail(node.open_client(alice_laptop))
    node.backend.interference.silent = False


async def meet_a_fault(node: MemoryNode) -> None:
    """Something of ours is broken."""
    del node.services.admission._addresses
    await saying(UPGRADE)(node)


HANDSHAKES: Final[list[tuple[str, Story, str, set[str]]]] = [
    ("honest", connect_client, "accepted", set()),
    ("health", saying(b"GET /v1/health HTTP/1.1\r\n\r\n"), "plain-http", set()),
    ("no-subprotocol", saying(UPGRADE.replace(b"varde.v2", b"other")), "plain-http", set()),
    ("mail", saying(b"HELO relay.test\r\n"), "no-request", {"no-http"}),
    ("endless-headers", saying(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000), "no-request", {"no-http"}),
    ("giant-headers", saying(b"GET / HTTP/1.1\r\n" + b"a: %s\r\n" % bytes(4_000) * 10), "no-request", {"no-http"}),
    ("silent", saying(b""), "timed-out", {"idle"}),
    ("slow-header", saying(b"GET /v1/relay HT"), "timed-out", {"slow-header"}),
    ("no-hello", beginning(b""), "timed-out", {"slow-handshake"}),
    ("gone-at-once", saying(b"", leaving=True), "vanished", set()),
    ("gone-in-its-request", saying(b"GET /v1/relay HT", leaving=True), "vanished", set()),
    ("gone-after-upgrade", saying(UPGRADE, leaving=True), "vanished", set()),
    ("closed-in-the-middle", leave_in_the_middle, "vanished", set()),
    ("unmasked", beginning(b"\x82\x01x"), "malformed", {"bad-frame"}),
    ("compressed", beginning(b"\xc2\x81abcdx"), "malformed", {"reserved-bits"}),
    ("flood-of-pings", beginning(b"\x89\x80abcd" * (SLOW_FRAMES + 1)), "malformed", {"flood"}),
    ("no-pattern", beginning(b"\x82\x81\0\0\0\0\xff"), "unsupported-handshake", set()),
    ("no-noise", beginning(b"\x82\x81\0\0\0\0\x01"), "failed", set()),
    ("bad-hello", say_no_hello, "bad-hello", set()),
    ("forged", forge, "bad-ticket", set()),
    ("late", come_late, "ticket-expired", set()),
    ("revoked", be_revoked, "revoked", set()),
    ("tomorrow", speak_another_version, "unsupported-version", set()),
    ("outage", come_during_an_outage, "database-lost", set()),
    ("silence", come_during_a_silence, "database-lost", set()),
    ("fault", meet_a_fault, "surprise", set()),
]


@pytest.mark.parametrize(("story", "outcome", "hostile"), [pytest.param(*case[1:], id=case[0]) for case in HANDSHAKES])
async def test_a_newcomer_is_counted_once(backend: Backend, story: Story, outcome: str, hostile: set[str]) -> None:
    """Whatever becomes of it: one outcome, and what it did on the way."""
    await open_room(backend, alice)
    async with open_node(backend, strict=False) as node:
        difference = await watch(node, lambda: story(node))
        assert difference.words("varde_relay_handshakes_total") == {outcome: 1}
        assert set(difference.words("varde_relay_hostile_total")) == hostile
        assert difference.words("varde_relay_disconnects_total") == {}


async def test_a_full_node_counts_whom_it_turns_away(backend: Backend) -> None:
    """After a good ticket."""
    await open_room(backend, alice, bob)
    async with open_node(backend, connections=1) as node:
        await node.connect_client(alice_laptop)
        difference = await watch(node, lambda: fail(node.open_client(bob_phone)))
        assert difference.words("varde_relay_handshakes_total") == {"full": 1}


@pytest.mark.parametrize(
    ("said", "outcome", "hostile"),
    [
        pytest.param(UPGRADE, "malformed", "bad-tls", id="plain-http"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "timed-out", "slow-handshake", id="half-a-hello"),
        pytest.param(b"", "timed-out", "idle", id="silent"),
    ],
)
async def test_a_newcomer_to_tls_is_counted_once(
    node: MemoryNode, tmp_path: Path, said: bytes, outcome: str, hostile: str
) -> None:
    """The same, where TLS ends in the node and does not even begin."""
    certificate = TlsCertificate(TlsFiles(*issue(Authority(), tmp_path)), read_clock)
    behind_tls = replace(node, services=replace(node.services, certificate=certificate))
    difference = await watch(node, lambda: saying(said)(behind_tls))
    assert difference.words("varde_relay_handshakes_total") == {outcome: 1}
    assert difference.words("varde_relay_hostile_total").keys() - {"slow-close"} == {hostile}


async def test_who_does_not_hang_up_is_counted(node: MemoryNode) -> None:
    """The answer was given, and a connection is held all the same, for as long as the node has grace."""

    async def story() -> None:
        stream = node.open_stream()
        await stream.send_all(b"GET /v1/health HTTP/1.1\r\n\r\n")
        await trio.sleep(node.services.settings.close_grace + 1)  # in time that jumps

    difference = await watch(node, story)
    assert difference.words("varde_relay_hostile_total") == {"slow-close": 1}


def closing(code: int | None) -> Callable[[StreamClient], Awaitable[object]]:
    """A peer that closes with this code."""

    async def story(client: StreamClient) -> None:
        client.protocol.send_close(code)
        await client.flush()
        await client.wait_closed()

    return story


def sending(said: bytes) -> Callable[[StreamClient], Awaitable[object]]:
    """A peer that sends these bytes, and listens to what comes of it."""

    async def story(client: StreamClient) -> None:
        await client.stream.send_all(said)
        await client.wait_closed()

    return story


async def stay_silent(client: StreamClient) -> None:
    """Hear the pings, and answer none."""
    while await client.stream.receive_some():
        pass


async def talk_without_end(client: StreamClient) -> None:
    """Ignore limits."""
    for _ in range(400):
        client.protocol.send_binary(client.session.send(f.Presence(alice.profile, f.PresenceState.AWAY)))
    await client.flush()
    await client.wait_closed()


ENDS: Final[list[tuple[str, Callable[[StreamClient], Awaitable[object]], str, set[str]]]] = [
    ("goodbye", closing(1000), "1000", set()),
    ("going-away", closing(1001), "1001", set()),
    ("without-a-code", closing(None), "other", set()),
    ("a-code-of-ours", closing(4101), "other", set()),
    ("a-code-of-its-own", closing(4242), "other", set()),
    ("our-surprise", closing(1011), "other", set()),
    ("vanished", StreamClient.abort, "none", set()),
    ("text", sending(b"\x81\x81\0\0\0\0x"), "1003", {"bad-frame"}),
    ("unmasked", sending(b"\x82\x01x"), "1002", {"bad-frame"}),
    ("compressed", sending(b"\xc2\x81\0\0\0\0x"), "1002", {"reserved-bits"}),
    ("giant", sending(b"\x82\xff" + (1 << 30).to_bytes(8)), "1009", {"giant-frame"}),
    ("fragments", sending(b"\x02\x80abcd" + b"\x00\x80abcd" * 2_000), "1008", {"fragments"}),
    ("pings", sending(b"\x89\x80abcd" * 3_000), "1008", {"flood"}),
    ("garbage", sending(b"\x82\x81\0\0\0\0x"), "protocol-error", {"garbage"}),
    ("flood", talk_without_end, "abuse", {"flood"}),
    ("half-open", stay_silent, "heartbeat-missed", {"half-open", "slow-close"}),
]


@pytest.mark.parametrize(("story", "code", "hostile"), [pytest.param(*case[1:], id=case[0]) for case in ENDS])
async def test_an_end_is_counted_once(
    backend: Backend, story: Callable[[StreamClient], Awaitable[object]], code: str, hostile: set[str]
) -> None:
    """By the code that was said first; and no peer can make its own code look like ours."""
    await open_room(backend, alice)
    async with open_node(backend, frames_per_second=1, burst=1, strikes=3) as node:
        client = await node.connect_client(alice_laptop)
        difference = await watch(node, lambda: story(client))
        assert difference.words("varde_relay_disconnects_total") == {code: 1}
        assert set(difference.words("varde_relay_hostile_total")) == hostile
        assert difference.words("varde_relay_handshakes_total") == {}


async def test_a_replay_is_counted(node: MemoryNode, backend: Backend) -> None:
    """Who only repeats a first message: let in by it, and cut by the deadline."""
    await open_room(backend, alice)

    async def story() -> None:
        client = node.open_client(alice_laptop, Pattern.IK)
        await client.upgrade()
        await client.send_message(client.session.open())
        await client.wait_closed()

    difference = await watch(node, story)
    assert difference.words("varde_relay_handshakes_total") == {"accepted": 1}
    assert difference.words("varde_relay_disconnects_total") == {"handshake-timeout": 1}
    assert difference.words("varde_relay_hostile_total") == {"replay": 1}


async def test_our_own_reasons_are_counted(backend: Backend) -> None:
    """A revocation, a newer connection, a fault of ours, and the end of the node."""
    await open_room(backend, alice, bob)
    async with open_node(backend, strict=False) as node:

        async def story() -> None:
            older = await node.connect_client(alice_laptop)
            await node.connect_client(alice_laptop)
            await older.wait_closed()
            phone = await node.connect_client(bob_phone)
            backend.bus.publish_nowait([TicketsRevoked(bob_phone.id, backend.clock.now_ms, final=True)])
            await phone.wait_closed()
            other = await node.connect_client(alice_phone)
            peer = node.services.hub.find(alice_phone.id)
            assert peer is not None
            del peer.mailbox
            await other.send(f.Sync(ConversationId(id_of(1)), 1))
            await other.wait_closed()

        difference = await watch(node, story)
        assert difference.words("varde_relay_disconnects_total") == {"replaced": 1, "revoked": 1, "1011": 1}
        assert difference.words("varde_relay_hostile_total") == {}
