"""Nodes that are alone and tell nobody, until somebody comes."""

import trio

from domain.events import NodeHere
from domain.talk.events import MessagesCommitted
from relay.fleet.peer_nodes import BEAT, SILENCE
from tests.cast import alice, alice_laptop, bob, bob_phone
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_node, open_room
from varde_contract import frames as f


async def test_who_is_alone_tells_nobody(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Without another node, what is committed after the first beat stays off the bus; listeners here hear it."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    await trio.sleep(2 * BEAT)  # in time that jumps
    await laptop.send(sends.group(roster, alice))
    assert (await phone.receive(f.New)).seq == 1
    await laptop.receive_many(2)
    await phone.send(f.Delivered(roster.conversation, 1))
    await laptop.receive(f.DeliveredBy)
    assert backend.published == []


async def test_a_newcomer_misses_nothing(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """What was committed in silence while a node came is looked up there, and all that follows is rung for."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    await trio.sleep(2 * BEAT)  # in time that jumps
    backend.bus.losing = True  # the newcomer's first word has not arrived yet
    async with open_node(backend) as other:
        phone = await other.listen(bob_phone, roster.conversation)
        await laptop.send(sends.group(roster, alice))
        await laptop.receive(f.Ack)
        assert await phone.receive_pending() == []
        backend.bus.losing = False
        backend.bus.publish_nowait([NodeHere(other.services.node, quiet=False)])
        assert (await phone.receive(f.New)).seq == 1
        await laptop.send(sends.group(roster, alice))
        assert (await phone.receive(f.New)).seq == 2
        assert MessagesCommitted(node.services.node, roster.conversation, 2) in backend.published


async def test_two_nodes_never_believe_to_be_alone(backend: Backend, sends: Sends) -> None:
    """However long they are there together, each rings for what it commits; and no more when the other has gone."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend) as one:
        laptop = await one.listen(alice_laptop, roster.conversation)
        async with open_node(backend) as other:
            phone = await other.listen(bob_phone, roster.conversation)
            for seq in (1, 2, 3):
                await trio.sleep(SILENCE)  # in time that jumps
                await laptop.send(sends.group(roster, alice))
                assert (await phone.receive(f.New)).seq == seq
        await trio.sleep(SILENCE + 2 * BEAT)  # in time that jumps
        assert one.services.publisher.alone


async def test_a_bus_that_broke_ends_the_solitude(node: MemoryNode, backend: Backend) -> None:
    """Words may have been lost with it: the node says again that it is there, and that it was silent."""
    await trio.sleep(2 * BEAT)  # in time that jumps
    assert node.services.publisher.alone
    backend.bus.lose_track()
    await trio.sleep(BEAT)  # in time that jumps
    assert NodeHere(node.services.node, quiet=True) in backend.bus.published
