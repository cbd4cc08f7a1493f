"""A node and its bus: what it wants to hear, what it drops, and what goes on while the bus is away."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from domain.budgets import ALLOWANCES, Budget
from domain.people.events import DeviceConnected, TicketsRevoked
from domain.people.model import Revocation
from domain.spending import PERIOD
from domain.talk.events import MembershipChanged, MessagesCommitted, PresenceMoved, TypingMoved
from relay.fleet import publisher
from relay.fleet.journal_tail import UNDER_WAY_MS
from relay.fleet.publisher import Publisher
from relay.fleet.resync import ROUND_WITHOUT_BUS
from relay.metrics.counters import Metrics
from simulation.stores.bus import RecordingBus
from tests.cast import alice, alice_laptop, bob, bob_phone, carol, carol_phone, remove_member
from tests.ids import id_of
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_node, open_room
from tests.store_contracts.messages import draft, send
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.ids import ConversationId, ProfileId

LATE = 2.0
"""Virtual seconds in which a message comes while the bus is away."""
SOON = 1.0
"""Virtual seconds in which a revocation or a removal takes effect everywhere."""


async def test_a_node_hears_conversations_with_listeners_on_it(node: MemoryNode, backend: Backend) -> None:
    """It subscribes with the first listener of a conversation, and no more than once; with the last it leaves."""
    roster = await open_room(backend, alice, bob)
    (subscribed,) = (listener.conversations for listener in backend.bus._listeners)
    assert subscribed == set()
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    assert subscribed == {roster.conversation}
    node.services.hub.remove_listener(
        next(iter(node.services.hub.listeners(roster.conversation))).peer, roster.conversation
    )
    assert subscribed == {roster.conversation}
    await laptop.close()
    await phone.close()
    await wait_all_tasks_blocked()
    assert subscribed == set()


async def test_a_message_crosses_once_to_each_node_that_is_interested(backend: Backend, sends: Sends) -> None:
    """Whoever has listeners on other conversations only hears nothing of it, however many listen where it goes."""
    roster = await open_room(backend, alice, bob, carol)
    async with open_node(backend) as one, open_node(backend) as other, open_node(backend) as idle:
        laptop = await one.listen(alice_laptop, roster.conversation)
        listening = [await other.listen(device, roster.conversation) for device in (bob_phone, carol_phone)]
        await laptop.send(sends.group(roster, alice))
        for phone in listening:
            assert (await phone.receive(f.New)).seq == 1
        await wait_all_tasks_blocked()
        assert [node.services.metrics.events_received[MessagesCommitted] for node in (other, idle)] == [1, 0]


async def test_two_nodes_give_an_account_one_budget(backend: Backend) -> None:
    """What one node gave all at once the other does not give again, as soon as it has heard."""
    async with open_node(backend) as one, open_node(backend) as other:
        await wait_all_tasks_blocked()
        burst = ALLOWANCES[Budget.DELIVERIES].burst
        assert one.services.budgets.spend(alice.account, Budget.DELIVERIES, burst) is None
        assert other.services.budgets.spend(alice.account, Budget.DELIVERIES, burst / 8) is None
        await trio.sleep(2 * PERIOD + 0.5)  # in time that jumps: each has told, and heard
        assert other.services.budgets.spend(alice.account, Budget.DELIVERIES) is not None


async def test_what_was_committed_before_the_bus_heard_is_found(node: MemoryNode, backend: Backend) -> None:
    """Another node commits after the log was read and before the bus confirms: the look that follows finds it."""
    roster = await open_room(backend, alice, bob)
    phone = await node.listen(bob_phone, roster.conversation)
    await send(backend.stores, draft(alice_laptop, roster.conversation))
    assert await phone.receive_pending() == []
    node.services.bridge.resync(frozenset({roster.conversation, ConversationId(id_of(99))}))
    assert (await phone.receive(f.New)).seq == 1
    assert node.services.metrics.resyncs == 0


async def test_delivery_goes_on_while_the_bus_is_away(backend: Backend, sends: Sends) -> None:
    """Connections stay, messages come by the tail; after the return what was missed is there, once."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend) as one, open_node(backend) as other:
        laptop = await one.listen(alice_laptop, roster.conversation)
        phone = await other.listen(bob_phone, roster.conversation)
        backend.bus.losing, backend.bus.connected = True, False
        await laptop.send(sends.group(roster, alice))
        await laptop.receive_many(2)
        backend.clock.advance(UNDER_WAY_MS)
        with trio.fail_after(LATE):
            assert (await phone.receive(f.New)).seq == 1
        await laptop.send(sends.group(roster, alice))
        await laptop.receive_many(2)
        backend.bus.losing, backend.bus.connected = False, True
        backend.bus.lose_track()
        assert (await phone.receive(f.New)).seq == 2
        backend.clock.advance(UNDER_WAY_MS)
        await trio.sleep(LATE)  # in time that jumps
        assert await phone.receive_pending() == []


async def test_a_node_that_is_alone_hears_of_the_api_without_a_bus(node: MemoryNode, backend: Backend) -> None:
    """Nobody else commits but the API: while its events cannot come, a lone node reads the tail as well."""
    roster = await open_room(backend, alice, bob)
    phone = await node.listen(bob_phone, roster.conversation)
    await trio.sleep(3 * LATE)  # in time that jumps: now it knows that it is alone
    assert node.services.publisher.alone
    backend.bus.connected = False
    await send(backend.stores, draft(alice_laptop, roster.conversation, sent_ms=backend.clock()))
    backend.clock.advance(UNDER_WAY_MS)
    with trio.fail_after(LATE):
        assert (await phone.receive(f.New)).seq == 1


async def test_revocations_and_removals_come_without_a_bus(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """They are looked up every few seconds while it is away, also when it went away in the middle of a slow round."""
    roster = await open_room(backend, alice, bob, carol)
    removed = await node.listen(carol_phone, roster.conversation)
    revoked = await node.listen(bob_phone, roster.conversation)
    laptop = await node.listen(alice_laptop, roster.conversation)
    await laptop.send(sends.group(roster, alice))  # which has the node keep the roster at hand
    for client in removed, revoked:
        await client.receive(f.New)
    await trio.sleep(5)  # in time that jumps
    backend.bus.connected = False
    await remove_member(backend.stores, roster.conversation, carol)
    backend.clock.advance(1_000)
    revocation = Revocation(bob_phone.id, backend.clock(), final=True)
    backend.memory.revocations[bob_phone.id] = backend.clock(), revocation
    with trio.fail_after(3 * ROUND_WITHOUT_BUS):
        assert (await removed.receive(f.Changed)).kind == f.ChangeKind.MEMBERSHIP
        assert (await revoked.wait_closed()).code == CloseCode.REVOKED


async def test_a_revocation_and_a_removal_take_effect_everywhere_within_a_second(backend: Backend) -> None:
    """An event of the API cuts and removes on whatever node the device is."""
    roster = await open_room(backend, alice, bob, carol)
    async with open_node(backend, changes_pause=1.0) as one, open_node(backend, changes_pause=1.0) as other:
        phone = await one.listen(bob_phone, roster.conversation)
        removed = await other.listen(carol_phone, roster.conversation)
        moved = await remove_member(backend.stores, roster.conversation, carol)
        backend.clock.advance(1_000)
        backend.bus.publish_nowait(
            [
                MembershipChanged(roster.conversation, getattr(moved, "version", 0)),
                TicketsRevoked(bob_phone.id, backend.clock(), final=True),
            ]
        )
        with trio.fail_after(SOON):
            assert (await phone.wait_closed()).code == CloseCode.REVOKED
            assert (await removed.receive(f.Changed)).kind == f.ChangeKind.MEMBERSHIP
        for node in one, other:
            assert not any(
                each.peer.device == carol_phone.id for each in node.services.hub.listeners(roster.conversation)
            )


async def test_presence_and_typing_are_coalesced_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each subject the latest waits. Beyond the bound new ones are dropped, but never what is not droppable."""
    monkeypatch.setattr(publisher, "MOST_WAITING", 3)
    metrics = Metrics()
    queue = Publisher(RecordingBus(), metrics, pause=0.0)
    conversation = ConversationId(id_of(1))
    for number in range(2, 5):
        for state in f.PresenceState:
            queue.publish(PresenceMoved("node", ProfileId(id_of(number)), state))
    assert (queue.waiting, metrics.events_dropped) == (3, 0)
    for active in True, False:
        queue.publish(TypingMoved("node", conversation, ProfileId(id_of(2)), active=active))
    assert (queue.waiting, metrics.events_dropped) == (3, 2)
    queue.publish(PresenceMoved("node", ProfileId(id_of(2)), f.PresenceState.AWAY))
    assert (queue.waiting, metrics.events_dropped) == (3, 2)
    queue.publish(MessagesCommitted("node", conversation, 1))
    queue.publish(DeviceConnected("node", alice_laptop.id, 1))
    assert queue.waiting == 5
