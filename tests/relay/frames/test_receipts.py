"""Receipts: gathered, stored, and told as policy allows."""

import trio
import trio.testing
from msgspec.structs import replace

from domain.talk.model import Roster
from tests.cast import Person, alice, alice_laptop, alice_phone, bob, bob_laptop, bob_phone
from tests.relay.client import StreamClient
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_node, open_room
from varde_contract import frames as f
from varde_contract.ids import ConversationId, DeviceId


async def allow(backend: Backend, person: Person, **policies: bool) -> None:
    """Change what a person's private mode shows."""
    changed = replace(person.privat.policies, **policies)
    await backend.stores.profiles.replace(person.account, person.profile, person.privat.theme, changed)


async def talk(
    node: MemoryNode, backend: Backend, sends: Sends, count: int
) -> tuple[Roster, StreamClient, StreamClient]:
    """Let Alice's laptop and Bob's phone listen, and Bob's phone have heard so many messages of Alice."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    await laptop.send(*(sends.group(roster, alice) for _ in range(count)))
    await phone.receive_many(count)
    await laptop.receive_many(2 * count)
    return roster, laptop, phone


def upto(backend: Backend, conversation: ConversationId, device: DeviceId) -> int:
    """Where a device stands in the store."""
    return backend.memory.talks[conversation].positions[device].upto


async def test_frame_receipt_delivered(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """What a device confirms is stored, deletes what it was kept for, and is told to the others once."""
    roster, laptop, phone = await talk(node, backend, sends, 3)
    await phone.send(f.Delivered(roster.conversation, 3))
    assert await laptop.receive(f.DeliveredBy) == f.DeliveredBy(roster.conversation, bob.profile, 3)
    assert upto(backend, roster.conversation, bob_phone.id) == 3
    assert await laptop.receive_pending() == []
    assert await phone.receive_pending() == []


async def test_frame_receipt_read(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """What a person has read is told to the others, and to the person's own other devices."""
    roster, laptop, phone = await talk(node, backend, sends, 3)
    own = await node.connect_client(bob_laptop)
    await own.send(f.Join(roster.conversation, 4))
    await own.receive(f.Joined)
    await phone.send(f.Read(roster.conversation, bob.profile, 2))
    told = f.ReadBy(roster.conversation, bob.profile, 2)
    assert await laptop.receive(f.ReadBy) == told
    assert await own.receive(f.ReadBy) == told


async def test_receipts_are_coalesced(backend: Backend, sends: Sends) -> None:
    """However often a position moves within a moment, it is stored and told once, where it stands in the end."""
    async with open_node(backend, receipts_pause=1.0) as node:
        roster, laptop, phone = await talk(node, backend, sends, 9)
        for seq in (3, 9, 5):
            await phone.send(f.Delivered(roster.conversation, seq), f.Read(roster.conversation, bob.profile, seq))
        assert await laptop.receive(f.DeliveredBy) == f.DeliveredBy(roster.conversation, bob.profile, 9)
        assert await laptop.receive(f.ReadBy) == f.ReadBy(roster.conversation, bob.profile, 9)
        await trio.sleep(3)  # longer than receipts gather, in time that jumps
        assert await laptop.receive_pending() == []


async def test_a_receipt_that_moves_nothing_is_not_told(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Saying the same again, or less, changes nothing and says nothing."""
    roster, laptop, phone = await talk(node, backend, sends, 3)
    await phone.send(f.Delivered(roster.conversation, 3))
    await laptop.receive(f.DeliveredBy)
    await phone.send(f.Delivered(roster.conversation, 3), f.Delivered(roster.conversation, 2))
    assert await laptop.receive_pending() == []


async def test_a_profile_that_hides_what_it_read_hides_it_from_others_only(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """Without read receipts the own devices still keep in step, and nobody else hears."""
    roster = await open_room(backend, alice, bob)
    await allow(backend, bob, read_receipts=False, delivery_receipts=False)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone, own = [await node.listen(device, roster.conversation) for device in (bob_phone, bob_laptop)]
    await laptop.send(sends.group(roster, alice))
    for client, count in ((laptop, 2), (phone, 1), (own, 1)):
        await client.receive_many(count)
    await phone.send(f.Delivered(roster.conversation, 1), f.Read(roster.conversation, bob.profile, 1))
    await own.receive(f.ReadBy)
    assert await laptop.receive_pending() == []
    assert upto(backend, roster.conversation, bob_phone.id) == 1


async def test_refusal_not_joined(node: MemoryNode, backend: Backend) -> None:
    """A member that has not joined is asked to, which an outsider never is."""
    roster = await open_room(backend, alice, bob)
    phone = await node.connect_client(alice_phone)
    said = (
        f.Delivered(roster.conversation, 0),
        f.Read(roster.conversation, alice.profile, 0),
        f.Typing(roster.conversation, alice.profile, active=True),
    )
    for frame in said:
        await phone.send(frame)
        refused = await phone.receive(f.RefusedFrame)
        assert (refused.about, refused.subject, refused.code) == (f.tag_of(frame), roster.conversation, "not-joined")


async def test_a_receipt_beyond_the_log_is_out_of_range(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Nobody holds or has read what does not exist."""
    roster, _, phone = await talk(node, backend, sends, 1)
    await phone.send(f.Delivered(roster.conversation, 2), f.Read(roster.conversation, bob.profile, 2))
    assert [(await phone.receive(f.RefusedFrame)).code for _ in range(2)] == ["out-of-range"] * 2


async def test_nobody_reads_as_another(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A device marks as read what its own profiles have read."""
    roster, laptop, phone = await talk(node, backend, sends, 1)
    await phone.send(f.Read(roster.conversation, alice.profile, 1), f.Read(roster.conversation, bob.jobb.id, 1))
    assert [(await phone.receive(f.RefusedFrame)).code for _ in range(2)] == ["profile-not-allowed"] * 2
    assert await laptop.receive_pending() == []


async def test_receipts_outlive_an_outage(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """What was confirmed while the database was away is stored and told when it is back."""
    roster, laptop, phone = await talk(node, backend, sends, 2)
    with backend.interference.outage():
        await phone.send(f.Delivered(roster.conversation, 2), f.Read(roster.conversation, bob.profile, 2))
        await trio.sleep(5)  # of an outage, in time that jumps
        assert await laptop.receive_pending() == []
    assert await laptop.receive(f.DeliveredBy) == f.DeliveredBy(roster.conversation, bob.profile, 2)
    assert await laptop.receive(f.ReadBy) == f.ReadBy(roster.conversation, bob.profile, 2)


async def test_a_confirmed_message_comes_no_more(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """After a reconnect, a device hears what it had not confirmed."""
    roster, _, phone = await talk(node, backend, sends, 3)
    await phone.send(f.Delivered(roster.conversation, 2))
    assert await phone.receive_pending() == []
    await phone.close()
    again = await node.connect_client(bob_phone)
    await again.send(f.Join(roster.conversation))
    assert (await again.receive(f.Joined)).from_seq == 3
    assert (await again.receive(f.New)).seq == 3


async def test_what_is_being_stored_is_not_done(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A draining node waits for the receipts that the database has not answered yet, as for those that wait."""
    roster, _, phone = await talk(node, backend, sends, 1)
    backend.interference.silent = True
    await phone.send(f.Delivered(roster.conversation, 1))
    await trio.testing.wait_all_tasks_blocked()
    assert not node.services.receipts.idle
