"""Sending while others listen: judged, committed, acked, told."""

import pytest
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from domain.talk.events import MembershipChanged, MessagesCommitted
from domain.talk.sending import TRIES
from tests.cast import (
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_laptop,
    bob_phone,
    carol,
    carol_phone,
    enrol,
    put_member,
    remove_member,
    revoke,
)
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_room, roster_now, waiting_bytes
from varde_contract import frames as f
from varde_contract.limits import ROSTER_GRACE_MS
from varde_contract.refusals import StaleDevices
from varde_contract.talk import ConversationKind, Role


async def test_frame_msg_send(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """One ciphertext per device reaches each of them, and nobody another's."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    others = {device: await node.listen(device, roster.conversation) for device in (alice_phone, bob_phone, bob_laptop)}
    await laptop.send(sends.each(roster, alice, alice_laptop))
    for device, client in others.items():
        new = await client.receive(f.New)
        assert new.ciphertext == b"sealed for " + device.id.bytes
        assert await client.receive_pending() == []


async def test_frame_msg_new(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A message says where it stands, who wrote it as whom on which device, when, and what the sender called it."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    frame = sends.group(roster, alice)
    await laptop.send(frame)
    ack = await laptop.receive(f.Ack)
    assert await phone.receive(f.New) == f.New(
        conversation=roster.conversation,
        seq=1,
        message=ack.message,
        client_id=frame.client_id,
        sender_profile=alice.profile,
        sender_device=alice_laptop.id,
        time=backend.clock.now_ms,
        ciphertext=b"sealed for all",
    )


async def test_frame_ack(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """The sender learns number and time, and that the number is its own, in the order of the conversation."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    frame = sends.group(roster, alice)
    await laptop.send(frame)
    ack = await laptop.receive(f.Ack)
    assert (ack.client_id, ack.conversation, ack.seq, ack.time) == (
        frame.client_id,
        roster.conversation,
        1,
        backend.clock.now_ms,
    )
    assert await laptop.receive(f.Gap) == f.Gap(roster.conversation, 1, 1, f.GapReason.OWN)


async def test_the_same_client_id_twice_is_one_message(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Sent again, at once or later, it gets the same ack, is stored once, and told once."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    frame = sends.group(roster, alice)
    await laptop.send(frame, frame)
    heard = [frame for frame in await laptop.receive_pending() if isinstance(frame, f.Ack)]
    await laptop.send(frame)
    heard.append(await laptop.receive(f.Ack))
    assert heard[0] == heard[1] == heard[2]
    assert backend.memory.talks[roster.conversation].head == 1
    assert [type(each) for each in await phone.receive_pending()] == [f.New]


async def test_refusal_stale_devices(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Who left a device out, or named one that is gone, is told which, and nothing is stored."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    frame = sends.each(roster, alice, alice_laptop)
    assert frame.devices is not None
    wrong = {device: sealed for device, sealed in frame.devices.items() if device != bob_phone.id}
    await laptop.send(replace(frame, devices={**wrong, carol_phone.id: b"for nobody"}))
    refused = await laptop.receive(f.RefusedFrame)
    assert refused.code == "stale-devices"
    assert refused.stale == StaleDevices(roster.version, missing=(bob_phone.id,), gone=(carol_phone.id,))
    assert backend.memory.talks[roster.conversation].head == 0


async def test_a_dm_for_an_older_roster_is_good_for_a_while(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Who adds devices without end silences nobody in a dm either; the new device is told that it has nothing."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    tablet = bob.further_device("tablet")
    await enrol(backend.stores, tablet)
    newcomer = await node.listen(tablet, roster.conversation)
    await laptop.send(sends.each(roster, alice, alice_laptop))
    assert (await phone.receive(f.New)).ciphertext == b"sealed for " + bob_phone.id.bytes
    assert await newcomer.receive(f.Gap) == f.Gap(roster.conversation, 1, 1, f.GapReason.EXPIRED)


async def test_a_group_message_for_an_older_roster_is_good_for_a_while(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """One ciphertext for all may be for a roster to which somebody was added meanwhile, but not for long."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    await enrol(backend.stores, bob.further_device("tablet"))
    # No event, and then one: the node has the old roster in memory when the first one comes, the new one afterwards.
    for _ in range(2):
        await laptop.send(sends.group(roster, alice))
        assert (await laptop.receive_many(2))[0].__class__ is f.Ack
        node.services.rosters.forget_all()
    backend.clock.advance(ROSTER_GRACE_MS)
    await laptop.send(sends.group(roster, alice))
    refused = await laptop.receive(f.RefusedFrame)
    assert (refused.code, refused.stale) == ("stale-devices", StaleDevices(roster.version + 1))
    await laptop.send(sends.group(await roster_now(backend, roster.conversation), alice))
    assert (await laptop.receive(f.Ack)).seq == 3


@pytest.mark.parametrize("what", ["device", "member"])
async def test_a_group_message_for_a_roster_before_a_removal_is_stale(
    node: MemoryNode, backend: Backend, sends: Sends, what: str
) -> None:
    """Nothing is stored that was said before the sender knew of a removal, also when others were added since."""
    await open_room(backend, carol)
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    if what == "device":
        await revoke(backend.stores, bob.account, bob_phone.id, backend.clock())
    else:
        await remove_member(backend.stores, roster.conversation, bob)
    await put_member(backend.stores, roster.conversation, carol)
    await laptop.send(sends.group(roster, alice))
    refused = await laptop.receive(f.RefusedFrame)
    assert (refused.code, refused.stale) == ("stale-devices", StaleDevices(roster.version + 2))
    await laptop.send(replace(sends.group(roster, alice), roster_version=roster.version + 1))
    assert (await laptop.receive(f.Ack)).seq == 1


@pytest.mark.parametrize("cached", [True, False], ids=["old-roster-cached", "new-roster-read"])
async def test_what_was_stored_is_acked_again_after_the_roster_moved(
    node: MemoryNode, backend: Backend, sends: Sends, *, cached: bool
) -> None:
    """A device that lost its ack and sends again is not told that its message is stale: it is stored."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    frames = sends.each(roster, alice, alice_laptop), sends.group(roster, alice)
    await laptop.send(*frames)
    acks = [await laptop.receive(f.Ack) for _ in frames]
    await enrol(backend.stores, bob.further_device("tablet"))
    if not cached:
        node.services.rosters.forget_all()
    await laptop.send(*frames)
    assert [await laptop.receive(f.Ack) for _ in frames] == acks
    backend.clock.advance(ROSTER_GRACE_MS)
    await laptop.send(sends.group(roster, alice))
    assert (await laptop.receive(f.RefusedFrame)).code == "stale-devices"
    assert backend.memory.talks[roster.conversation].head == 2


@pytest.mark.parametrize("cached", [True, False], ids=["old-roster-cached", "new-roster-read"])
async def test_what_was_stored_is_acked_again_to_who_was_removed(
    node: MemoryNode, backend: Backend, sends: Sends, *, cached: bool
) -> None:
    """Whoever sent a message may know that it was sent; nobody else learns anything by its client id."""
    roster = await open_room(backend, alice, bob)
    laptop, phone = await node.connect_client(alice_laptop), await node.connect_client(alice_phone)
    frame = sends.group(roster, alice)
    await laptop.send(frame)
    ack = await laptop.receive(f.Ack)
    await remove_member(backend.stores, roster.conversation, alice)
    if not cached:
        node.services.rosters.forget_all()
    await laptop.send(frame)
    assert await laptop.receive(f.Ack) == ack
    await phone.send(frame)
    assert (await phone.receive(f.RefusedFrame)).code == "not-found"


async def test_a_send_for_a_roster_the_node_has_not_heard_of_is_judged_by_it(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """A "no" from memory is never told: whoever was let in just now on another node can write here at once."""
    roster = await open_room(backend, alice, bob)
    await open_room(backend, carol)
    laptop = await node.listen(alice_laptop, roster.conversation)
    await laptop.send(sends.group(roster, alice))
    await laptop.receive_many(2)
    await put_member(backend.stores, roster.conversation, carol)
    phone = await node.connect_client(carol_phone)
    await phone.send(sends.group(await roster_now(backend, roster.conversation), carol))
    assert (await phone.receive(f.Ack)).seq == 2


async def test_a_roster_that_moves_under_the_commit_is_decided_again(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """What was right when it was judged and wrong when it was stored is refused, and nothing of that is stored."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    backend.interference.hold_commits()
    await laptop.send(sends.each(roster, alice, alice_laptop))
    await backend.interference.wait_commit_held()
    await revoke(backend.stores, bob.account, bob_laptop.id, backend.clock())
    backend.interference.release_commits()
    refused = await laptop.receive(f.RefusedFrame)
    assert refused.stale == StaleDevices(roster.version + 1, gone=(bob_laptop.id,))
    assert backend.memory.talks[roster.conversation].head == 0


async def test_a_roster_that_only_changed_its_version_delays_nothing(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """A send per device that is still right after the roster moved is stored on the second try, without a word."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    backend.interference.hold_commits()
    await laptop.send(sends.each(roster, alice, alice_laptop))
    await backend.interference.wait_commit_held()
    await put_member(backend.stores, roster.conversation, bob, Role.ADMIN)
    backend.interference.release_commits()
    assert (await laptop.receive(f.Ack)).seq == 1
    assert waiting_bytes(node) == 0  # what went back into the queue was counted in again, and out


async def test_a_roster_that_never_rests_is_the_senders_to_look_at(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """When the roster moves under every try, the sender is told its version instead of being kept waiting."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    backend.interference.hold_commits()
    await laptop.send(sends.each(roster, alice, alice_laptop))
    version = roster.version
    for number in range(TRIES):
        await backend.interference.wait_commit_held()
        version = (
            await put_member(backend.stores, roster.conversation, bob, (Role.ADMIN, Role.MEMBER)[number % 2])
        ).version
        backend.interference.release_commits()
        backend.interference.hold_commits()
    refused = await laptop.receive(f.RefusedFrame)
    assert (refused.code, refused.stale) == ("stale-devices", StaleDevices(version))
    assert backend.memory.talks[roster.conversation].head == 0


async def test_refusal_profile_not_allowed(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A device writes as the profiles it holds and that are members, not as another's nor as its other mode."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    for profile in (bob.profile, alice.jobb.id):
        await laptop.send(replace(sends.group(roster, alice), profile=profile))
        assert (await laptop.receive(f.RefusedFrame)).code == "profile-not-allowed"
    await laptop.send(f.Presence(bob.profile, f.PresenceState.ACTIVE))
    assert (await laptop.receive(f.RefusedFrame)).code == "profile-not-allowed"


async def test_refusal_malformed(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A send holds either one ciphertext for all or one per device, never both and never neither."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    both = replace(sends.each(roster, alice, alice_laptop), group=b"as well")
    neither = replace(sends.group(roster, alice), group=None)
    for frame in (both, neither):
        await laptop.send(frame)
        assert (await laptop.receive(f.RefusedFrame)).code == "malformed"


async def test_frame_refused_names_the_send_by_its_client_id(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A client that has several sends under way can tell which one was refused."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    good, bad = sends.group(roster, alice), replace(sends.group(roster, alice), roster_version=9)
    await laptop.send(good, bad)
    heard = await laptop.receive_many(2)
    (refused,) = [frame for frame in heard if isinstance(frame, f.RefusedFrame)]
    assert (refused.about, refused.subject) == ("msg:send", bad.client_id)
    (ack,) = [frame for frame in heard if isinstance(frame, f.Ack)]
    assert ack.client_id == good.client_id


async def test_a_note_to_self_on_one_device_is_stored(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Without another device there is nobody to encrypt for, and the message has its number all the same."""
    roster = await open_room(backend, carol, kind=ConversationKind.SELF)
    phone = await node.listen(carol_phone, roster.conversation)
    await phone.send(sends.each(roster, carol, carol_phone))
    assert (await phone.receive(f.Ack)).seq == 1


async def test_who_was_removed_gets_nothing_that_was_sent_afterwards(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """Even before the node hears of the removal, a message for the new roster does not reach the removed."""
    roster = await open_room(backend, alice, bob, carol)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(carol_phone, roster.conversation)
    await remove_member(backend.stores, roster.conversation, carol)
    await laptop.send(sends.group(await roster_now(backend, roster.conversation), alice))
    assert (await laptop.receive(f.Ack)).seq == 1
    assert not [frame for frame in await phone.receive_pending() if isinstance(frame, f.New)]
    assert len(node.services.hub.listeners(roster.conversation)) == 1


async def test_what_is_committed_is_announced(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Other nodes are told the head, under this node's name and without a byte of ciphertext."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    await laptop.send(sends.group(roster, alice))
    await laptop.receive(f.Ack)
    await wait_all_tasks_blocked()
    assert backend.published == [MessagesCommitted(node.services.node, roster.conversation, 1)]


async def test_frame_changed_tells_members_to_look(node: MemoryNode, backend: Backend) -> None:
    """When a roster moves, who listens is told the version to fetch."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    backend.bus.publish_nowait([MembershipChanged(roster.conversation, roster.version)])
    assert await laptop.receive(f.Changed) == f.Changed(f.ChangeKind.MEMBERSHIP, roster.conversation, roster.version)


@pytest.mark.parametrize("count", [1, 40])
async def test_several_frames_travel_in_one_message(
    node: MemoryNode, backend: Backend, sends: Sends, count: int
) -> None:
    """What is said at once is heard at once: fewer messages on the wire than frames."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    before = phone.messages
    await laptop.send(*(sends.group(roster, alice) for _ in range(count)))
    assert [(await phone.receive(f.New)).seq for _ in range(count)] == list(range(1, count + 1))
    assert phone.messages == before + 1
