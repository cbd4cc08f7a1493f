"""From the first byte to Welcome, one message at a time."""

from dataclasses import replace

import msgspec
import pytest
from trio.testing import wait_all_tasks_blocked

from domain.people.events import TicketsRevoked
from tests.cast import alice, alice_laptop, alice_phone, bob, bob_phone, mallory_phone
from tests.ids import id_of
from tests.relay.client import ConnectionClosed, StreamClient
from tests.relay.memory_node import RELAY_KEY, TICKET_KEY, Backend, MemoryNode, open_room
from varde_contract import frames as f
from varde_contract.ids import ConversationId
from varde_contract.session import PROTOCOL_VERSION, Pattern

DAY_MS = 24 * 60 * 60 * 1000


async def end_of(client: StreamClient) -> int | None:
    """Go through the handshake as far as it goes, and return the close code."""
    await client.upgrade()
    await client.send_message(client.session.open())
    return (await client.wait_closed()).code


async def test_frame_welcome(node: MemoryNode, backend: Backend) -> None:
    """The relay's first word says what it allows and where each conversation of the device stands."""
    roster = await open_room(backend, alice, bob)
    welcome = await node.open_client(alice_laptop).connect()
    assert welcome.heads == (f.Head(roster.conversation, 0, 0, 1, 0),)
    assert not welcome.more
    assert welcome.time == backend.clock.now_ms
    assert welcome.heartbeat_ms == 25_000
    assert welcome.limits == node.services.limits


async def test_frame_hello_travels_last_in_xx(node: MemoryNode, backend: Backend) -> None:
    """With XX the client knows the relay's key before it says who it is, and the relay has no doubt afterwards."""
    await open_room(backend, alice, bob)
    client = node.open_client(alice_laptop)
    await client.upgrade()
    await client.send_message(client.session.open())
    await client.receive(f.Welcome)
    assert client.session.remote_static == RELAY_KEY.public
    assert client.messages == 2
    assert node.services.hub.find(alice_laptop.id) is not None


async def test_ik_takes_one_round_trip(node: MemoryNode, backend: Backend) -> None:
    """With IK the first message carries Hello, and the Noise answer and Welcome come back without another word."""
    await open_room(backend, alice, bob)
    client = node.open_client(alice_laptop, Pattern.IK)
    await client.connect()
    await client.send(f.Join())
    assert isinstance(await client.receive(f.Joined), f.Joined)
    assert node.services.hub.find(alice_laptop.id) is not None


@pytest.mark.parametrize("pattern", [Pattern.XXpsk3, Pattern.IKpsk1])
async def test_a_post_quantum_handshake_is_taken(node: MemoryNode, backend: Backend, pattern: Pattern) -> None:
    """The relay takes the secret out of the first message, and the device is as much there as with the others."""
    await open_room(backend, alice, bob)
    client = node.open_client(alice_laptop, pattern)
    await client.connect()
    await client.send(f.Join())
    assert isinstance(await client.receive(f.Joined), f.Joined)
    assert node.services.hub.find(alice_laptop.id) is not None


@pytest.mark.parametrize("pattern", [Pattern.IK, Pattern.IKpsk1])
async def test_a_replayed_ik_message_has_no_side_effect(node: MemoryNode, backend: Backend, pattern: Pattern) -> None:
    """Who only repeats a first message replaces nobody, shows nobody and can read no answer."""
    roster = await open_room(backend, alice, bob)
    original, replay = (node.open_client(alice_laptop, pattern) for _ in range(2))
    first = original.session.open()
    await original.upgrade()
    await original.send_message(first)
    await original.receive(f.Welcome)
    await original.send(f.Join(roster.conversation))
    await original.receive(f.Joined)
    before = node.services.hub.find(alice_laptop.id)
    await replay.upgrade()
    await replay.send_message(first)
    await wait_all_tasks_blocked()
    assert node.services.hub.find(alice_laptop.id) is before
    assert backend.published == []
    await original.send(f.Sync(roster.conversation, 1))
    assert (await original.receive(f.RefusedFrame)).code == "out-of-range"


async def test_a_replayer_that_answers_pings_is_cut_all_the_same(node: MemoryNode, backend: Backend) -> None:
    """Without one authentic message the connection ends with the handshake's deadline, whatever the WebSocket says."""
    await open_room(backend, alice)
    client = node.open_client(alice_laptop, Pattern.IK)
    await client.connect()
    ended = await client.wait_closed()
    assert ended.code == 4004
    assert len(node.services.hub) == 0


async def test_close_handshake_timeout(node: MemoryNode) -> None:
    """Who upgrades and then says nothing is closed after ten seconds."""
    client = node.open_client(alice_laptop)
    await client.upgrade()
    assert (await client.wait_closed()).code == 4004


async def test_close_bad_ticket(node: MemoryNode) -> None:
    """A ticket that no key of ours signed is refused."""
    head, claims, _ = node.ticket(alice_laptop).split(".")
    assert await end_of(node.open_client(alice_laptop, ticket=f"{head}.{claims}.{'A' * 86}")) == 4100


async def test_refusal_ticket_invalid(node: MemoryNode) -> None:
    """A good ticket of another device does not open the door, whichever of the two Hello names."""
    foreign = node.ticket(bob_phone)
    assert await end_of(node.open_client(mallory_phone, ticket=foreign)) == 4100
    hello = f.Hello(PROTOCOL_VERSION, foreign, bob_phone.id)
    assert await end_of(node.open_client(mallory_phone, hello=hello)) == 4100


async def test_refusal_ticket_expired(node: MemoryNode, backend: Backend) -> None:
    """A ticket is good for a day."""
    ticket = node.ticket(alice_laptop)
    backend.clock.advance(DAY_MS)
    assert await end_of(node.open_client(alice_laptop, ticket=ticket)) == 4104


async def test_refusal_ticket_revoked(node: MemoryNode, backend: Backend) -> None:
    """A revoked device stays out, also with a ticket issued later."""
    backend.bus.publish_nowait([TicketsRevoked(alice_laptop.id, backend.clock.now_ms, final=True)])
    backend.clock.advance(1_000)
    assert await end_of(node.open_client(alice_laptop)) == 4101


async def test_a_ticket_from_before_a_new_whitelist_is_withdrawn(node: MemoryNode, backend: Backend) -> None:
    """After its whitelist changed, a device comes back with a new ticket only."""
    await open_room(backend, alice)
    old = node.ticket(alice_laptop)
    backend.clock.advance(1_000)
    backend.bus.publish_nowait([TicketsRevoked(alice_laptop.id, backend.clock.now_ms, final=False)])
    backend.clock.advance(1_000)
    assert await end_of(node.open_client(alice_laptop, ticket=old)) == 4100
    await node.connect_client(alice_laptop)


async def test_close_unsupported_version(node: MemoryNode) -> None:
    """A client of another version of the protocol is told so."""
    hello = f.Hello(PROTOCOL_VERSION + 1, node.ticket(alice_laptop), alice_laptop.id)
    assert await end_of(node.open_client(alice_laptop, hello=hello)) == 4106


async def test_refusal_version_unsupported(node: MemoryNode) -> None:
    """Neither pattern lets another version in."""
    hello = f.Hello(PROTOCOL_VERSION + 1, node.ticket(alice_laptop), alice_laptop.id)
    assert await end_of(node.open_client(alice_laptop, Pattern.IK, hello=hello)) == 4106


@pytest.mark.parametrize(
    ("first", "code"),
    [
        *((first, 4109) for first in (b"", b"\x00", b"\xff" + bytes(64))),
        *((first, 4105) for first in (b"\x01", b"\x01" + bytes(31), b"\x02" + bytes(96))),
    ],
)
async def test_close_handshake_failed(node: MemoryNode, first: bytes, code: int) -> None:
    """A first message that is no handshake ends the connection; one that names no pattern has a code of its own."""
    client = node.open_client(alice_laptop)
    await client.upgrade()
    await client.send_message(first)
    assert (await client.wait_closed()).code == code


async def test_close_bad_hello(node: MemoryNode) -> None:
    """What is sealed in good order and means nothing ends the connection as well, with a code of its own."""
    client = node.open_client(alice_laptop)
    client.session._hello = msgspec.msgpack.encode({"hello": 1})
    assert await end_of(client) == 4108


async def test_a_frame_before_welcome_is_a_fault(node: MemoryNode, backend: Backend) -> None:
    """The session's table has no row for what a client says before it was welcomed."""
    await open_room(backend, alice)
    client = node.open_client(alice_laptop, Pattern.IK)
    await client.upgrade()
    client.protocol.send_binary(client.session.open())
    client.protocol.send_binary(b"too early to be sealed")
    await client.stream.send_all(b"".join(client.protocol.data_to_send()))
    with pytest.raises(ConnectionClosed) as ended:
        await client.receive(f.Welcome)
    assert ended.value.code == 4103


async def test_close_database_lost(node: MemoryNode, backend: Backend) -> None:
    """Who comes while the database is away is asked to come back later."""
    with backend.interference.outage():
        assert await end_of(node.open_client(alice_laptop)) == 4003


async def test_two_devices_of_one_account_are_two_peers(node: MemoryNode, backend: Backend) -> None:
    """A phone does not replace a laptop."""
    await open_room(backend, alice)
    await node.connect_client(alice_laptop)
    await node.connect_client(alice_phone)
    assert len(node.services.hub) == 2


async def test_a_device_with_many_conversations_is_told_of_the_first_thousand(
    node: MemoryNode, backend: Backend
) -> None:
    """Welcome stays within one message, and says that there is more."""
    roster = await open_room(backend, alice)
    talk = backend.memory.talks[roster.conversation]
    for number in range(1, 1_001):
        other = ConversationId(id_of(number))
        backend.memory.talks[other] = replace(talk, id=other)
    welcome = await node.open_client(alice_laptop).connect()
    assert len(welcome.heads) == 1_000
    assert welcome.more


def test_the_ticket_key_of_the_tests_is_not_the_relays() -> None:
    """The two keys of a server are different things."""
    assert TICKET_KEY.private_bytes_raw() != RELAY_KEY.private_bytes()
