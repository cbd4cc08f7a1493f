"""The relay and a client that shares no code with it: Noise, msgpack and WebSocket of Node."""

from collections.abc import AsyncIterator

import pytest

from domain.talk import model as talk
from simulation.stores import open_memory_stores
from simulation.stores.bus import RecordingBus
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from tests.cast import alice, alice_laptop, bob, bob_phone, carol, open_conversation, settle
from tests.clients.node.client import open_node, open_with_node
from tests.relay.library_clients import open_with_websockets
from tests.relay.memory_node import Sends
from tests.relay.tcp_node import TcpNode, open_tcp_node
from varde_contract import frames as f
from varde_contract.session import Pattern

SEALED = bytes(range(256)) * 192
"""As large as a ciphertext may be, with every byte there is."""


@pytest.fixture
async def scene() -> AsyncIterator[tuple[TcpNode, talk.Roster]]:
    """A node, and a conversation of Alice and Bob."""
    stores = open_memory_stores(interference=Interference(), bus=RecordingBus(), memory=Memory())
    await settle(stores, alice, bob, carol)
    conversation = await open_conversation(stores, alice, bob)
    async with open_tcp_node(stores) as node:
        yield node, (await stores.conversations.rosters([conversation]))[conversation]


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.IK])  # Node 20 has no ML-KEM, as browsers have none
async def test_two_nodes_of_node_talk(scene: tuple[TcpNode, talk.Roster], pattern: Pattern) -> None:
    """Two strangers, and none of our client code between them: what one sends the other gets, and says so."""
    (node, roster), sends = scene, Sends()
    async with (
        open_with_node(node.url, node.credentials(alice_laptop, pattern)) as laptop,
        open_with_node(node.url, node.credentials(bob_phone, pattern)) as phone,
    ):
        for client in (laptop, phone):
            assert (await client.connect()).heads[0].conversation == roster.conversation
            await client.send(f.Join(roster.conversation))
            assert (await client.wait_for(f.Joined)).head == 0
        await laptop.send(sends.group(roster, alice, SEALED))
        ack = await laptop.wait_for(f.Ack)
        new = await phone.wait_for(f.New)
        assert (new.seq, new.message, new.ciphertext, new.sender_device) == (1, ack.message, SEALED, alice_laptop.id)
        await phone.send(f.Delivered(roster.conversation, 1))
        assert (await laptop.wait_for(f.DeliveredBy)).upto == 1
        await phone.send(f.Typing(roster.conversation, bob.profile, active=True), sends.group(roster, bob))
        assert (await laptop.wait_for(f.TypingBy)).active
        assert (await laptop.wait_for(f.New)).seq == 2


async def test_node_reads_what_our_own_client_writes(scene: tuple[TcpNode, talk.Roster]) -> None:
    """A hundred messages from our session, some with a ciphertext for each device, arrive in Node in order."""
    (node, roster), sends = scene, Sends()
    async with (
        open_with_websockets(node.url, node.credentials(alice_laptop)) as laptop,
        open_with_node(node.url, node.credentials(bob_phone)) as phone,
    ):
        for client in (laptop, phone):
            await client.connect()
            await client.send(f.Join())
            await client.wait_for(f.Joined)
        for _ in range(50):
            await laptop.send(sends.group(roster, alice), sends.each(roster, alice, alice_laptop))
        assert [(await laptop.wait_for(f.Ack)).seq for _ in range(100)] == list(range(1, 101))
        heard = [await phone.wait_for(f.New) for _ in range(100)]
        assert [new.seq for new in heard] == list(range(1, 101))
        assert {new.ciphertext for new in heard[1::2]} == {b"sealed for " + bob_phone.id.bytes}


async def test_node_is_refused_in_words_it_understands(scene: tuple[TcpNode, talk.Roster]) -> None:
    """A refusal with its map of devices reaches a client that has no Structs."""
    (node, roster), sends = scene, Sends()
    async with open_node(node.url, node.credentials(alice_laptop)) as laptop:
        await laptop.connect()
        frame = sends.each(roster, alice, alice_laptop)
        assert frame.devices is not None
        await laptop.send(f.Send(frame.client_id, roster.conversation, alice.profile, 7, devices={bob_phone.id: b"x"}))
        refused = await laptop.wait_for(f.RefusedFrame)
        assert (refused.subject, refused.code.value) == (frame.client_id, "stale-devices")
        assert refused.stale is not None
        assert set(refused.stale.missing) == set(frame.devices) - {bob_phone.id}


async def test_node_probes_and_is_told_which_field_is_wrong(scene: tuple[TcpNode, talk.Roster]) -> None:
    """What a browser needs: a sign of life that it sees, and refusals that name the field and spare the connection."""
    (node, roster), sends = scene, Sends()
    async with open_node(node.url, node.credentials(alice_laptop)) as laptop:
        await laptop.connect()
        bad = f.Send(sends.group(roster, alice).client_id, roster.conversation, alice.profile, -1, b"x")
        await laptop.send(f.Probe(b"one"), bad, f.Probe(b"two"))
        assert await laptop.wait_for(f.ProbeEcho) == f.ProbeEcho(b"one")
        refused = await laptop.wait_for(f.RefusedFrame)
        assert (refused.about, refused.subject, refused.code.value) == ("msg:send", bad.client_id, "malformed")
        assert "Frame 1 of the message" in refused.detail
        assert "`roster_version`" in refused.detail
        assert await laptop.wait_for(f.ProbeEcho) == f.ProbeEcho(b"two")


async def test_node_pings_and_closes(scene: tuple[TcpNode, talk.Roster]) -> None:
    """A ping brings back what it carried, no extension is agreed on, and a close is answered with its own code."""
    node, _ = scene
    async with open_node(node.url, node.credentials(alice_laptop, Pattern.XX)) as laptop:
        await laptop.connect()
        assert (laptop.upgraded["subprotocol"], laptop.upgraded["extensions"]) == ("varde.v2", "")
        for payload in (b"", b"hei", bytes(range(125))):
            assert await laptop.ping(payload) == payload
        await laptop.close(3000, "ha det")
        closed = await laptop.wait_closed()
        assert (closed.code, closed.reason) == (3000, "ha det")
