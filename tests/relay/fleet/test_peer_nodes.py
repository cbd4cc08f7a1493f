"""Nodes that are alone and tell nobody, until somebody comes; and nodes that die."""

import trio
from msgspec.structs import replace

from domain.fleet.model import LEASE_MS, Action, NodeReport, NodeState
from domain.talk.events import MessagesCommitted
from relay.fleet.peer_nodes import BEAT, LEASE
from tests.cast import alice, alice_laptop, bob, bob_phone
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_node, open_room
from varde_contract import frames as f
from varde_contract.talk import PresenceState

FOREIGN = NodeReport(name="foreign-1", address="192.0.2.9:1", version="9", started_ms=0, connections=0, capacity=1)


async def test_who_is_alone_tells_nobody(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Without another node, what is committed after the second beat stays off the bus; listeners here hear it."""
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
    async with open_node(backend) as other:
        phone = await other.listen(bob_phone, roster.conversation)
        await laptop.send(sends.group(roster, alice))
        await laptop.receive(f.Ack)
        assert backend.published == []
        assert (await phone.receive(f.New)).seq == 1
        await laptop.send(sends.group(roster, alice))
        assert (await phone.receive(f.New)).seq == 2
        assert MessagesCommitted(node.services.node, roster.conversation, 2) in backend.published


async def test_silence_that_ends_between_two_beats_is_noticed(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A node that never saw another one silent still learns that it was, and reads what it did not ring for."""
    roster = await open_room(backend, alice, bob)
    phone = await node.listen(bob_phone, roster.conversation)
    await backend.stores.nodes.beat(FOREIGN)
    await trio.sleep(BEAT)  # in time that jumps: it is known, and was not alone
    backend.bus.losing = True  # as good as never rung
    async with open_node(backend) as elsewhere:
        laptop = await elsewhere.listen(alice_laptop, roster.conversation)
        await laptop.send(sends.group(roster, alice))
        await laptop.receive(f.Ack)
        assert await phone.receive_pending() == []
        await backend.stores.nodes.beat(replace(FOREIGN, resumed=1))
        assert (await phone.receive(f.New)).seq == 1


async def test_what_a_node_could_not_tell_before_it_left_is_looked_up(backend: Backend, sends: Sends) -> None:
    """Its last message comes as soon as it is seen to have gone, though the one that stays is alone from then on."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend) as one:
        phone = await one.listen(bob_phone, roster.conversation)
        async with open_node(backend) as other:
            laptop = await other.listen(alice_laptop, roster.conversation)
            await trio.sleep(2 * BEAT)  # in time that jumps
            backend.bus.losing = True
            await laptop.send(sends.group(roster, alice))
            await laptop.receive(f.Ack)
        await backend.stores.nodes.leave(other.services.node)
        with trio.fail_after(2 * BEAT):  # in time that jumps
            assert (await phone.receive(f.New)).seq == 1


async def test_two_nodes_never_believe_to_be_alone(backend: Backend, sends: Sends) -> None:
    """However long they are there together, each rings for what it commits; and no more when the other has gone."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend) as one:
        laptop = await one.listen(alice_laptop, roster.conversation)
        async with open_node(backend) as other:
            phone = await other.listen(bob_phone, roster.conversation)
            for seq in (1, 2, 3):
                await trio.sleep(LEASE)  # in time that jumps
                await laptop.send(sends.group(roster, alice))
                assert (await phone.receive(f.New)).seq == seq
        await trio.sleep(LEASE + 2 * BEAT)  # in time that jumps
        assert one.services.publisher.alone


async def test_a_store_that_does_not_answer_ends_the_solitude(node: MemoryNode, backend: Backend) -> None:
    """While nobody can see who comes, everything is told; it goes on alone when the store is back, and nobody came."""
    alone = [node.services.publisher.alone]
    await trio.sleep(2 * BEAT)  # in time that jumps
    alone.append(node.services.publisher.alone)
    with backend.interference.outage():
        await trio.sleep(BEAT)  # in time that jumps
        alone.append(node.services.publisher.alone)
    await trio.sleep(2 * BEAT)  # in time that jumps
    assert [*alone, node.services.publisher.alone] == [False, True, False, True]


async def test_the_living_outlive_an_outage(backend: Backend) -> None:
    """After an outage of the store longer than a lease, every lease seems to have ended: nobody is taken for dead."""
    async with open_node(backend) as one, open_node(backend) as other:
        peers = one.services.peer_nodes
        # Its own beats are at the same moments as the ends of these pauses: who is first then is chance.
        await peers.beat()
        with backend.interference.outage():
            await trio.sleep(2 * LEASE)  # in time that jumps
            await peers.beat()
        await peers.beat()
        assert [node.report.name for node in peers.others] == [other.services.node]


async def test_presence_of_a_dead_node_ends(node: MemoryNode, backend: Backend) -> None:
    """What a killed node showed is offline when its lease has ended; a device that came back elsewhere stays shown."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend) as other:
        laptop = await node.listen(alice_laptop, roster.conversation)
        phone = await other.listen(bob_phone, roster.conversation)
        await phone.send(f.Presence(bob.profile, PresenceState.ACTIVE))
        assert await laptop.receive(f.PresenceOf) == f.PresenceOf(bob.profile, PresenceState.ACTIVE)
        backend.bus.losing = True  # as if killed: it says nothing of its end
    backend.bus.losing = False
    assert await laptop.receive(f.PresenceOf) == f.PresenceOf(bob.profile, PresenceState.OFFLINE)


async def test_an_order_is_obeyed_once(node: MemoryNode, backend: Backend) -> None:
    """An order to drain ends the node; its report says so, and names the last order that was carried out."""
    name = node.services.node
    assert await backend.stores.nodes.order(name, Action.DRAIN) == 1
    await node.services.stop.wait()
    node.services.begin_drain()
    await node.services.peer_nodes.beat()
    (known,) = await backend.stores.nodes.list_nodes()
    assert (known.report.done, known.report.state, known.alive) == (1, NodeState.DRAINING, True)
    await trio.sleep(LEASE_MS / 1_000)  # in time that jumps
    assert [each.alive for each in await backend.stores.nodes.list_nodes()] == [True]
