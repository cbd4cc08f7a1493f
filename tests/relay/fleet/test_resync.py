"""The slow cure: what nobody rang for is found by looking."""

from collections.abc import AsyncIterator

import pytest
import trio

from domain.people import model as people
from domain.talk.events import MessagesCommitted
from relay.fleet.resync import CONVERSATIONS_PER_QUERY, ROUND, resync, run_resync
from tests.cast import alice, alice_laptop, bob, bob_phone, carol, carol_phone, open_conversation, remove_member
from tests.relay.memory_node import Backend, MemoryNode, Sends, make_backend, open_node, open_room
from tests.store_contracts.messages import draft, send
from varde_contract import frames as f

TWO_ROUNDS = 2 * 2 * ROUND
"""Virtual seconds: however the jitter falls, every conversation was looked up since."""


@pytest.fixture
async def looking(backend: Backend) -> AsyncIterator[MemoryNode]:
    """A node that looks everything up now and then, and asks nobody whether they are still there."""
    async with open_node(backend, heartbeat=10 * TWO_ROUNDS) as node, trio.open_nursery() as nursery:
        nursery.start_soon(run_resync, node.services)
        yield node
        nursery.cancel_scope.cancel()


async def test_a_message_nobody_rang_for_is_delivered(looking: MemoryNode, backend: Backend) -> None:
    """Another node committed and died before its doorbell: the listeners here have the message within a round or so."""
    roster = await open_room(backend, alice, bob)
    phone = await looking.listen(bob_phone, roster.conversation)
    await send(backend.stores, draft(alice_laptop, roster.conversation), draft(alice_laptop, roster.conversation))
    assert await phone.receive_pending() == []
    await trio.sleep(TWO_ROUNDS)  # in time that jumps
    assert [new.seq for new in await phone.receive_many(2) if isinstance(new, f.New)] == [1, 2]
    assert not any(isinstance(event, MessagesCommitted) for event in backend.published)


async def test_a_roster_that_moved_unheard_is_noticed(looking: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Who was removed by a process that died before it said so is told, and hears no more; the others hear of it."""
    roster = await open_room(backend, alice, bob, carol)
    laptop = await looking.listen(alice_laptop, roster.conversation)
    phone = await looking.listen(carol_phone, roster.conversation)
    await laptop.send(sends.group(roster, alice))  # which has the node keep the roster at hand
    await phone.receive(f.New)
    await laptop.receive_many(2)
    move = await remove_member(backend.stores, roster.conversation, carol)
    assert isinstance(move, people.RosterChange)
    await trio.sleep(TWO_ROUNDS)  # in time that jumps
    for client in (laptop, phone):
        changed = await client.receive(f.Changed)
        assert (changed.kind, changed.value) == (f.ChangeKind.MEMBERSHIP, move.version)
    assert not any(
        listener.peer.device == carol_phone.id for listener in looking.services.hub.listeners(roster.conversation)
    )


async def test_nothing_new_is_nothing_told(looking: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Round after round, a listener that has heard everything is left alone, and the log is not read."""
    roster = await open_room(backend, alice, bob)
    laptop = await looking.listen(alice_laptop, roster.conversation)
    await laptop.send(sends.group(roster, alice))
    await laptop.receive_many(2)
    await trio.sleep(TWO_ROUNDS)  # in time that jumps
    assert await laptop.receive_pending() == []
    (listener,) = looking.services.hub.listeners(roster.conversation)
    assert listener.live


async def test_an_outage_is_waited_out(looking: MemoryNode, backend: Backend) -> None:
    """Looking in vain ends nothing: the next round finds what there is."""
    roster = await open_room(backend, alice, bob)
    phone = await looking.listen(bob_phone, roster.conversation)
    await send(backend.stores, draft(alice_laptop, roster.conversation))
    with backend.interference.outage():
        await trio.sleep(TWO_ROUNDS)  # in time that jumps
    await trio.sleep(TWO_ROUNDS)  # in time that jumps
    assert (await phone.receive(f.New)).seq == 1


async def test_where_nobody_listens_nothing_is_asked(node: MemoryNode, backend: Backend) -> None:
    """A round of nothing is no query: an outage would not even be noticed by it."""
    with backend.interference.outage():
        await resync(node.services, [])
    assert not node.services.outage.just_failed
    with backend.interference.outage():
        await resync(node.services, [(await open_room(make_backend(), alice, bob)).conversation])
    assert node.services.outage.just_failed


async def test_a_round_asks_for_everything(node: MemoryNode, backend: Backend) -> None:
    """One query may hold what is unknown or no longer listened to, and tells those who are there."""
    roster = await open_room(backend, alice, bob)
    other = await open_conversation(backend.stores, alice)
    phone = await node.listen(bob_phone, roster.conversation)
    await send(backend.stores, draft(alice_laptop, roster.conversation), draft(alice_laptop, other))
    assert CONVERSATIONS_PER_QUERY > 2
    await resync(node.services, [other, roster.conversation])
    assert (await phone.receive(f.New)).seq == 1
