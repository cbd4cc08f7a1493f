"""Two nodes over one store and one bus, rosters that move, and a bus that forgets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from domain.people import model as people
from domain.people.events import DevicesChanged, KeysLow
from domain.talk.events import MembershipChanged, MessagesCommitted
from tests.cast import (
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_phone,
    carol,
    carol_phone,
    enrol,
    put_member,
    remove_member,
    settle,
)
from tests.relay.memory_node import KEPT, Backend, MemoryNode, Sends, open_node, open_room, roster_now
from varde_contract import frames as f


@asynccontextmanager
async def open_fleet(backend: Backend) -> AsyncIterator[tuple[MemoryNode, MemoryNode]]:
    """Two nodes."""
    async with open_node(backend) as one, open_node(backend) as other:
        yield one, other


async def test_a_message_reaches_who_listens_at_another_node(backend: Backend, sends: Sends) -> None:
    """The bus rings, and the other node reads the log for its listeners: each device what is its own."""
    roster = await open_room(backend, alice, bob)
    async with open_fleet(backend) as (one, other):
        laptop = await one.listen(alice_laptop, roster.conversation)
        phone = await other.listen(bob_phone, roster.conversation)
        await laptop.send(sends.each(roster, alice, alice_laptop))
        new = await phone.receive(f.New)
        assert (new.seq, new.ciphertext) == (1, b"sealed for " + bob_phone.id.bytes)


async def test_two_nodes_that_write_at_once_keep_one_order(backend: Backend, sends: Sends) -> None:
    """Whoever hears of a later number first reads the earlier ones from the log before it is told."""
    roster = await open_room(backend, alice, bob, carol)
    async with open_fleet(backend) as (one, other):
        laptop = await one.listen(alice_laptop, roster.conversation)
        phone = await other.listen(bob_phone, roster.conversation)
        third = await one.listen(carol_phone, roster.conversation)
        for _ in range(5):
            await laptop.send(*(sends.group(roster, alice) for _ in range(3)))
            await phone.send(*(sends.group(roster, bob) for _ in range(3)))
        heard = [frame for frame in await third.receive_many(30) if isinstance(frame, f.New)]
        assert [new.seq for new in heard] == list(range(1, 31))


async def test_receipts_typing_and_presence_cross_nodes(backend: Backend, sends: Sends) -> None:
    """What is told at one node is told at the others, once."""
    roster = await open_room(backend, alice, bob)
    async with open_fleet(backend) as (one, other):
        laptop = await one.listen(alice_laptop, roster.conversation)
        phone = await other.listen(bob_phone, roster.conversation)
        await laptop.send(sends.group(roster, alice))
        await phone.receive(f.New)
        await laptop.receive_many(2)
        await phone.send(f.Typing(roster.conversation, bob.profile, active=True))
        await laptop.receive(f.TypingBy)
        await phone.send(f.Delivered(roster.conversation, 1), f.Read(roster.conversation, bob.profile, 1))
        await laptop.receive(f.DeliveredBy)
        await laptop.receive(f.ReadBy)
        await phone.send(f.Presence(bob.profile, f.PresenceState.AWAY))
        await laptop.receive(f.PresenceOf)
        assert await laptop.receive_pending() == []


async def test_what_the_bus_lost_is_delivered_after_it_says_so(backend: Backend, sends: Sends) -> None:
    """Messages, a new conversation and a removal that nobody rang for are found in the store."""
    roster = await open_room(backend, alice, bob, carol)
    async with open_fleet(backend) as (one, other):
        laptop = await one.listen(alice_laptop, roster.conversation)
        phone = await other.connect_client(bob_phone)
        await phone.send(f.Join())
        await phone.receive_pending()
        removed = await other.listen(carol_phone, roster.conversation)
        backend.bus.losing = True
        await laptop.send(sends.group(roster, alice))
        await laptop.receive_many(2)
        fresh = await open_room(backend, alice, bob)
        await remove_member(backend.stores, roster.conversation, carol)
        assert await phone.receive_pending() == []
        backend.bus.losing = False
        backend.bus.lose_track()
        heard = await phone.receive_pending()
        assert [frame.seq for frame in heard if isinstance(frame, f.New)] == [1]
        assert [frame.conversation for frame in heard if isinstance(frame, f.Joined)] == [fresh.conversation]
        assert [frame.kind for frame in await removed.receive_pending() if isinstance(frame, f.Changed)] == [
            "membership"
        ]
        assert len(other.services.hub.listeners(roster.conversation)) == 1


async def test_a_resync_during_an_outage_waits_for_its_end(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """The bus and the database usually go together: what was missed comes when both are back."""
    roster = await open_room(backend, alice, bob)
    phone = await node.listen(bob_phone, roster.conversation)
    with backend.interference.outage():
        backend.bus.lose_track()
        await trio.sleep(30)  # of an outage, in time that jumps
    async with open_node(backend) as elsewhere:
        backend.bus.losing = True
        laptop = await elsewhere.connect_client(alice_laptop)
        await laptop.send(sends.group(roster, alice))
        await laptop.receive(f.Ack)
        backend.bus.losing = False
    backend.bus.publish_nowait([MessagesCommitted("elsewhere", roster.conversation, 1)])
    assert (await phone.receive(f.New)).seq == 1


async def test_a_doorbell_for_what_was_told_already_changes_nothing(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """Late, repeated and foreign doorbells do no harm."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    await laptop.send(sends.group(roster, alice))
    await phone.receive(f.New)
    for head in (0, 1, 1):
        backend.bus.publish_nowait([MessagesCommitted("elsewhere", roster.conversation, head)])
    assert await phone.receive_pending() == []


async def test_who_is_removed_while_live_stops_listening(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """The removed are told to look and hear nothing more; what they say is as if the conversation did not exist."""
    roster = await open_room(backend, alice, bob, carol)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(carol_phone, roster.conversation)
    moved = await remove_member(backend.stores, roster.conversation, carol)
    assert isinstance(moved, people.RosterChange)
    backend.bus.publish_nowait([MembershipChanged(moved.conversation, moved.version)])
    changed = f.Changed(f.ChangeKind.MEMBERSHIP, roster.conversation, moved.version)
    assert await phone.receive(f.Changed) == changed
    assert await laptop.receive(f.Changed) == changed
    await laptop.send(
        sends.group(await roster_now(backend, roster.conversation), alice),
        f.Typing(roster.conversation, alice.profile, active=True),
    )
    await laptop.receive_many(2)
    assert await phone.receive_pending() == []
    for frame in (sends.group(roster, carol), f.Typing(roster.conversation, carol.profile, active=True)):
        await phone.send(frame)
        assert (await phone.receive(f.RefusedFrame)).code == "not-found"


async def test_who_is_added_while_live_begins_to_listen(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A device that joined all hears a conversation it was added to, from then on; another one is told to look."""
    roster = await open_room(backend, alice, bob)
    await settle(backend.stores, carol)
    laptop = await node.listen(alice_laptop, roster.conversation)
    await laptop.send(sends.group(roster, alice))
    await laptop.receive_many(2)
    phone = await node.connect_client(carol_phone)
    await phone.send(f.Join())
    await wait_all_tasks_blocked()
    moved = await put_member(backend.stores, roster.conversation, carol)
    assert isinstance(moved, people.RosterChange)
    backend.bus.publish_nowait([MembershipChanged(moved.conversation, moved.version)])
    assert await phone.receive(f.Joined) == f.Joined(roster.conversation, 2, 1, moved.version, 0, KEPT)
    await phone.receive(f.Changed)
    await laptop.send(sends.group(await roster_now(backend, roster.conversation), alice))
    assert (await phone.receive(f.New)).seq == 2


async def test_who_is_added_in_the_middle_of_joining_all_listens_once(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """Whichever of the two finds the conversation first, it is joined once and told once."""
    roster = await open_room(backend, alice, bob)
    phone = await node.connect_client(alice_phone)
    await phone.send(f.Join())
    backend.bus.publish_nowait([MembershipChanged(roster.conversation, roster.version)])
    laptop = await node.connect_client(alice_laptop)
    await laptop.send(sends.group(roster, alice))
    heard = await phone.receive_pending()
    assert sorted(f.tag_of(frame) for frame in heard) == ["changed", "joined", "msg:new"]


async def test_a_new_device_is_announced_to_those_who_encrypt_for_it(node: MemoryNode, backend: Backend) -> None:
    """Members hear that the devices changed; so does the member who joined nothing yet."""
    roster = await open_room(backend, alice, bob)
    laptop, phone = await node.listen(alice_laptop, roster.conversation), await node.connect_client(alice_phone)
    await enrol(backend.stores, bob.further_device("tablet"))
    backend.bus.publish_nowait([DevicesChanged(roster.conversation, roster.version + 1)])
    changed = f.Changed(f.ChangeKind.DEVICES, roster.conversation, roster.version + 1)
    assert await laptop.receive(f.Changed) == changed
    assert await phone.receive(f.Changed) == changed


async def test_a_device_is_told_that_its_keys_run_low(node: MemoryNode, backend: Backend) -> None:
    """Only the device itself, and how many are left."""
    await open_room(backend, alice, bob)
    laptop, phone = await node.connect_client(alice_laptop), await node.connect_client(bob_phone)
    backend.bus.publish_nowait([KeysLow(alice_laptop.id, 3)])
    assert await laptop.receive(f.Changed) == f.Changed(f.ChangeKind.KEYS_LOW, None, 3)
    assert await phone.receive_pending() == []


async def test_changes_during_an_outage_are_looked_at_afterwards(node: MemoryNode, backend: Backend) -> None:
    """A roster that cannot be read is read again until it can."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    with backend.interference.outage():
        backend.bus.publish_nowait([MembershipChanged(roster.conversation, roster.version)])
        await trio.sleep(5)  # of an outage, in time that jumps
        assert await laptop.receive_pending() == []
    await laptop.receive(f.Changed)


async def test_refusal_unavailable(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """While the database is away sends are refused with a time, nothing is acked, and live connections stay."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    node.nursery.start_soon(phone.receive_many, 1)
    frame = sends.group(roster, alice)
    with backend.interference.outage():
        for _ in range(3):
            await laptop.send(frame)
            refused = await laptop.receive(f.RefusedFrame)
            assert (refused.subject, refused.code) == (frame.client_id, "unavailable")
            assert refused.retry_after_ms is not None
            await trio.sleep(refused.retry_after_ms / 1_000)  # which is what the refusal asked for
    await laptop.send(frame)
    assert (await laptop.receive(f.Ack)).seq == 1
    await wait_all_tasks_blocked()
    assert len(node.services.hub) == 2


async def test_a_join_waits_for_a_short_outage(node: MemoryNode, backend: Backend) -> None:
    """The database may be away for a moment without a client noticing more than a delay."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    with backend.interference.outage():
        await laptop.send(f.Join(roster.conversation))
        await trio.sleep(5)  # of an outage, in time that jumps
    await laptop.receive(f.Joined)


@pytest.mark.parametrize("one", [True, False])
async def test_a_join_is_refused_in_a_lasting_outage(node: MemoryNode, backend: Backend, *, one: bool) -> None:
    """After a while the client is told instead of kept waiting, and may try again on the same connection."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    frame = f.Join(roster.conversation if one else None)
    with backend.interference.outage():
        await laptop.send(frame)
        assert (await laptop.receive(f.RefusedFrame)).code == "unavailable"
    await laptop.send(frame)
    await laptop.receive(f.Joined)


async def test_a_backlog_goes_on_after_an_outage(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """What a peer was in the middle of reading comes to its end when the database is back."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    with backend.interference.outage():
        backend.bus.publish_nowait([MessagesCommitted("elsewhere", roster.conversation, 1)])
        await wait_all_tasks_blocked()
    await trio.sleep(2)  # longer than the node waits to ask again, in time that jumps
    await laptop.send(sends.group(roster, alice))
    assert (await phone.receive(f.New)).seq == 1
