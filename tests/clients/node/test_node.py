"""The relay and a client that shares no code with it: Noise, msgpack and WebSocket of Node."""

from collections.abc import AsyncIterator

import pytest

from domain.talk import model as talk
from tests.cast import alice, alice_laptop, bob, bob_phone, carol, open_conversation, settle
from tests.clients.node.guest import open_node, open_with_node
from tests.doubles.bus import RecordingBus
from tests.doubles.interference import Interference
from tests.doubles.memory import Memory
from tests.doubles.stores import open_memory_stores
from tests.relay.guest import open_with_websockets
from tests.relay.live import LiveNode, open_live
from tests.relay.stage import Letters
from varde_contract import frames as f
from varde_contract.session import Pattern

SEALED = bytes(range(256)) * 192
"""As large as a ciphertext may be, with every byte there is."""


@pytest.fixture
async def scene() -> AsyncIterator[tuple[LiveNode, talk.Roster]]:
    """A node, and a conversation of Alice and Bob."""
    stores = open_memory_stores(interference=Interference(), bus=RecordingBus(), memory=Memory())
    await settle(stores, alice, bob, carol)
    conversation = await open_conversation(stores, alice, bob)
    async with open_live(stores) as node:
        yield node, (await stores.conversations.rosters([conversation]))[conversation]


@pytest.mark.parametrize("pattern", list(Pattern))
async def test_two_nodes_of_node_talk(scene: tuple[LiveNode, talk.Roster], pattern: Pattern) -> None:
    """Two strangers, and none of our client code between them: what one sends the other gets, and says so."""
    (node, roster), letters = scene, Letters()
    async with (
        open_with_node(node.url, node.credentials(alice_laptop, pattern)) as laptop,
        open_with_node(node.url, node.credentials(bob_phone, pattern)) as phone,
    ):
        for guest in (laptop, phone):
            assert (await guest.enter()).heads[0].conversation == roster.conversation
            await guest.say(f.Join(roster.conversation))
            assert (await guest.hear(f.Joined)).head == 0
        await laptop.say(letters.group(roster, alice, SEALED))
        ack = await laptop.hear(f.Ack)
        new = await phone.hear(f.New)
        assert (new.seq, new.message, new.sealed, new.sender_device) == (1, ack.message, SEALED, alice_laptop.id)
        await phone.say(f.Delivered(roster.conversation, 1))
        assert (await laptop.hear(f.DeliveredBy)).upto == 1
        await phone.say(f.Typing(roster.conversation, bob.profile, active=True), letters.group(roster, bob))
        assert (await laptop.hear(f.TypingBy)).active
        assert (await laptop.hear(f.New)).seq == 2


async def test_node_reads_what_our_own_client_writes(scene: tuple[LiveNode, talk.Roster]) -> None:
    """A hundred messages from our session, some with a ciphertext for each device, arrive in Node in order."""
    (node, roster), letters = scene, Letters()
    async with (
        open_with_websockets(node.url, node.credentials(alice_laptop)) as laptop,
        open_with_node(node.url, node.credentials(bob_phone)) as phone,
    ):
        for guest in (laptop, phone):
            await guest.enter()
            await guest.say(f.Join())
            await guest.hear(f.Joined)
        for _ in range(50):
            await laptop.say(letters.group(roster, alice), letters.each(roster, alice, alice_laptop))
        assert [(await laptop.hear(f.Ack)).seq for _ in range(100)] == list(range(1, 101))
        heard = [await phone.hear(f.New) for _ in range(100)]
        assert [new.seq for new in heard] == list(range(1, 101))
        assert {new.sealed for new in heard[1::2]} == {b"sealed for " + bob_phone.id.bytes}


async def test_node_is_refused_in_words_it_understands(scene: tuple[LiveNode, talk.Roster]) -> None:
    """A refusal with its map of devices reaches a client that has no Structs."""
    (node, roster), letters = scene, Letters()
    async with open_node(node.url, node.credentials(alice_laptop)) as laptop:
        await laptop.enter()
        letter = letters.each(roster, alice, alice_laptop)
        assert letter.devices is not None
        await laptop.say(f.Send(letter.client_id, roster.conversation, alice.profile, 7, devices={bob_phone.id: b"x"}))
        refused = await laptop.hear(f.RefusedFrame)
        assert (refused.subject, refused.code.value) == (letter.client_id, "stale-devices")
        assert refused.stale is not None
        assert set(refused.stale.missing) == set(letter.devices) - {bob_phone.id}


async def test_node_pings_and_closes(scene: tuple[LiveNode, talk.Roster]) -> None:
    """A ping brings back what it carried, no extension is agreed on, and a close is answered with its own code."""
    node, _ = scene
    async with open_node(node.url, node.credentials(alice_laptop, Pattern.XX)) as laptop:
        await laptop.enter()
        assert (laptop.upgraded["subprotocol"], laptop.upgraded["extensions"]) == ("varde.v1", "")
        for payload in (b"", b"hei", bytes(range(125))):
            assert await laptop.ping(payload) == payload
        await laptop.close(3000, "ha det")
        hung = await laptop.hear_end()
        assert (hung.code, hung.reason) == (3000, "ha det")
