"""Sending while others listen: judged, committed, acked, told."""

import pytest
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from domain.people import model as people
from domain.talk.events import MembershipChanged, MessagesCommitted
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
)
from tests.relay.stage import Ground, Letters, Stage, open_room, roster_now, waiting_bytes
from varde_contract import frames as f
from varde_contract.refusals import StaleDevices
from varde_contract.rest.conversations import ConversationKind, Role


async def test_frame_msg_send(stage: Stage, ground: Ground, letters: Letters) -> None:
    """One ciphertext per device reaches each of them, and nobody another's."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    others = {gear: await stage.listen(gear, roster.conversation) for gear in (alice_phone, bob_phone, bob_laptop)}
    await laptop.say(letters.each(roster, alice, alice_laptop))
    for gear, caller in others.items():
        new = await caller.hear(f.New)
        assert new.sealed == b"sealed for " + gear.id.bytes
        assert await caller.hear_now() == []


async def test_frame_msg_new(stage: Stage, ground: Ground, letters: Letters) -> None:
    """A message says where it stands, who wrote it as whom on which device, when, and what the sender called it."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(bob_phone, roster.conversation)
    frame = letters.group(roster, alice)
    await laptop.say(frame)
    ack = await laptop.hear(f.Ack)
    assert await phone.hear(f.New) == f.New(
        conversation=roster.conversation,
        seq=1,
        message=ack.message,
        client_id=frame.client_id,
        sender_profile=alice.profile,
        sender_device=alice_laptop.id,
        time=ground.clock.now_ms,
        sealed=b"sealed for all",
    )


async def test_frame_ack(stage: Stage, ground: Ground, letters: Letters) -> None:
    """The sender learns number and time, and that the number is its own, in the order of the conversation."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    frame = letters.group(roster, alice)
    await laptop.say(frame)
    ack = await laptop.hear(f.Ack)
    assert (ack.client_id, ack.conversation, ack.seq, ack.time) == (
        frame.client_id,
        roster.conversation,
        1,
        ground.clock.now_ms,
    )
    assert await laptop.hear(f.Gap) == f.Gap(roster.conversation, 1, 1, f.GapReason.OWN)


async def test_the_same_client_id_twice_is_one_message(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Sent again, at once or later, it gets the same ack, is stored once, and told once."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(bob_phone, roster.conversation)
    frame = letters.group(roster, alice)
    await laptop.say(frame, frame)
    heard = [frame for frame in await laptop.hear_now() if isinstance(frame, f.Ack)]
    await laptop.say(frame)
    heard.append(await laptop.hear(f.Ack))
    assert heard[0] == heard[1] == heard[2]
    assert ground.memory.talks[roster.conversation].head == 1
    assert [type(each) for each in await phone.hear_now()] == [f.New]


async def test_refusal_stale_devices(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Who left a device out, or named one that is gone, is told which, and nothing is stored."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    frame = letters.each(roster, alice, alice_laptop)
    assert frame.devices is not None
    wrong = {device: sealed for device, sealed in frame.devices.items() if device != bob_phone.id}
    await laptop.say(replace(frame, devices={**wrong, carol_phone.id: b"for nobody"}))
    refused = await laptop.hear(f.RefusedFrame)
    assert refused.code == "stale-devices"
    assert refused.stale == StaleDevices(roster.version, missing=(bob_phone.id,), gone=(carol_phone.id,))
    assert ground.memory.talks[roster.conversation].head == 0


async def test_a_group_message_for_an_older_roster_is_stale(stage: Stage, ground: Ground, letters: Letters) -> None:
    """One ciphertext for all counts only for the roster it was made for, however the node hears of the change."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    await laptop.say(letters.group(roster, alice))
    await laptop.hear_some(2)
    # No event: the node still has the old roster in memory when the next one comes.
    await enrol(ground.stores, bob.further_device("tablet"))
    await laptop.say(letters.group(roster, alice))
    refused = await laptop.hear(f.RefusedFrame)
    assert (refused.code, refused.stale) == ("stale-devices", StaleDevices(roster.version + 1))
    await laptop.say(letters.group(await roster_now(ground, roster.conversation), alice))
    assert (await laptop.hear(f.Ack)).seq == 2


async def test_what_was_stored_is_acked_again_after_the_roster_moved(
    stage: Stage, ground: Ground, letters: Letters
) -> None:
    """A device that lost its ack and sends again is not told that its message is stale: it is stored."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    frames = letters.each(roster, alice, alice_laptop), letters.group(roster, alice)
    await laptop.say(*frames)
    acks = [await laptop.hear(f.Ack) for _ in frames]
    await enrol(ground.stores, bob.further_device("tablet"))
    await laptop.say(*frames)
    assert [await laptop.hear(f.Ack) for _ in frames] == acks
    await laptop.say(letters.group(roster, alice))
    assert (await laptop.hear(f.RefusedFrame)).code == "stale-devices"
    assert ground.memory.talks[roster.conversation].head == 2


async def test_what_was_stored_is_acked_again_to_who_was_removed(
    stage: Stage, ground: Ground, letters: Letters
) -> None:
    """Whoever sent a message may know that it was sent; nobody else learns anything by its client id."""
    roster = await open_room(ground, alice, bob)
    laptop, phone = await stage.call(alice_laptop), await stage.call(alice_phone)
    frame = letters.group(roster, alice)
    await laptop.say(frame)
    ack = await laptop.hear(f.Ack)
    await ground.stores.conversations.remove_member(roster.conversation, roster.version, alice.profile)
    await laptop.say(frame)
    assert await laptop.hear(f.Ack) == ack
    await phone.say(frame)
    assert (await phone.hear(f.RefusedFrame)).code == "not-found"


async def test_a_send_for_a_roster_the_node_has_not_heard_of_is_judged_by_it(
    stage: Stage, ground: Ground, letters: Letters
) -> None:
    """A "no" from memory is never told: whoever was let in just now on another node can write here at once."""
    roster = await open_room(ground, alice, bob)
    await open_room(ground, carol)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    await laptop.say(letters.group(roster, alice))
    await laptop.hear_some(2)
    member = (carol.profile, carol.account, Role.MEMBER)
    await ground.stores.conversations.add_member(roster.conversation, roster.version, member, most=9)
    phone = await stage.call(carol_phone)
    await phone.say(letters.group(await roster_now(ground, roster.conversation), carol))
    assert (await phone.hear(f.Ack)).seq == 2


async def test_a_roster_that_moves_under_the_commit_is_decided_again(
    stage: Stage, ground: Ground, letters: Letters
) -> None:
    """What was right when it was judged and wrong when it was stored is refused, and nothing of it is stored."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    ground.interference.hold_commits()
    await laptop.say(letters.each(roster, alice, alice_laptop), letters.group(roster, alice))
    await ground.interference.wait_commit_held()
    tablet = bob.further_device("tablet")
    await enrol(ground.stores, tablet)
    ground.interference.release_commits()
    each, group = [await laptop.hear(f.RefusedFrame) for _ in range(2)]
    assert each.stale == StaleDevices(roster.version + 1, missing=(tablet.id,))
    assert group.stale == StaleDevices(roster.version + 1)
    assert ground.memory.talks[roster.conversation].head == 0


async def test_a_roster_that_only_changed_its_version_delays_nothing(
    stage: Stage, ground: Ground, letters: Letters
) -> None:
    """A send per device that is still right after the roster moved is stored on the second try, without a word."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    ground.interference.hold_commits()
    await laptop.say(letters.each(roster, alice, alice_laptop))
    await ground.interference.wait_commit_held()
    await ground.stores.conversations.set_role(roster.conversation, roster.version, bob.profile, Role.ADMIN)
    ground.interference.release_commits()
    assert (await laptop.hear(f.Ack)).seq == 1
    assert waiting_bytes(stage) == 0  # what went back into the queue was counted in again, and out


async def test_a_roster_that_never_rests_is_the_senders_to_look_at(
    stage: Stage, ground: Ground, letters: Letters
) -> None:
    """When the roster moves under the second try as well, the sender is told its version instead of kept waiting."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    ground.interference.hold_commits()
    await laptop.say(letters.each(roster, alice, alice_laptop))
    version = roster.version
    for _ in range(2):
        await ground.interference.wait_commit_held()
        move = await ground.stores.conversations.set_role(roster.conversation, version, bob.profile, Role.ADMIN)
        assert isinstance(move, people.RosterMove)
        version = move.version
        ground.interference.release_commits()
        ground.interference.hold_commits()
    refused = await laptop.hear(f.RefusedFrame)
    assert (refused.code, refused.stale) == ("stale-devices", StaleDevices(version))
    assert ground.memory.talks[roster.conversation].head == 0


async def test_refusal_profile_not_allowed(stage: Stage, ground: Ground, letters: Letters) -> None:
    """A device writes as the profiles it holds and that are members, not as another's nor as its other mode."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    for profile in (bob.profile, alice.jobb.id):
        await laptop.say(replace(letters.group(roster, alice), profile=profile))
        assert (await laptop.hear(f.RefusedFrame)).code == "profile-not-allowed"
    await laptop.say(f.Presence(bob.profile, f.PresenceState.ACTIVE))
    assert (await laptop.hear(f.RefusedFrame)).code == "profile-not-allowed"


async def test_refusal_malformed(stage: Stage, ground: Ground, letters: Letters) -> None:
    """A send holds either one ciphertext for all or one per device, never both and never neither."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    both = replace(letters.each(roster, alice, alice_laptop), group=b"as well")
    neither = replace(letters.group(roster, alice), group=None)
    for frame in (both, neither):
        await laptop.say(frame)
        assert (await laptop.hear(f.RefusedFrame)).code == "malformed"


async def test_frame_refused_names_the_send_by_its_client_id(stage: Stage, ground: Ground, letters: Letters) -> None:
    """A client that has several sends under way can tell which one was refused."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    good, bad = letters.group(roster, alice), replace(letters.group(roster, alice), roster_version=9)
    await laptop.say(good, bad)
    heard = await laptop.hear_some(2)
    (refused,) = [frame for frame in heard if isinstance(frame, f.RefusedFrame)]
    assert (refused.about, refused.subject) == ("msg:send", bad.client_id)
    (ack,) = [frame for frame in heard if isinstance(frame, f.Ack)]
    assert ack.client_id == good.client_id


async def test_a_note_to_self_on_one_device_is_stored(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Without another device there is nobody to encrypt for, and the message has its number all the same."""
    roster = await open_room(ground, carol, kind=ConversationKind.SELF)
    phone = await stage.listen(carol_phone, roster.conversation)
    await phone.say(letters.each(roster, carol, carol_phone))
    assert (await phone.hear(f.Ack)).seq == 1


async def test_who_was_removed_gets_nothing_that_was_sent_afterwards(
    stage: Stage, ground: Ground, letters: Letters
) -> None:
    """Even before the node hears of the removal, a message for the new roster does not reach the removed."""
    roster = await open_room(ground, alice, bob, carol)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(carol_phone, roster.conversation)
    await ground.stores.conversations.remove_member(roster.conversation, roster.version, carol.profile)
    await laptop.say(letters.group(await roster_now(ground, roster.conversation), alice))
    assert (await laptop.hear(f.Ack)).seq == 1
    assert not [frame for frame in await phone.hear_now() if isinstance(frame, f.New)]
    assert len(stage.services.hub.listeners(roster.conversation)) == 1


async def test_what_is_committed_is_announced(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Other nodes are told the head, under this node's name and without a byte of ciphertext."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    await laptop.say(letters.group(roster, alice))
    await laptop.hear(f.Ack)
    await wait_all_tasks_blocked()
    assert ground.told == [MessagesCommitted(stage.services.node, roster.conversation, 1)]


async def test_frame_changed_tells_members_to_look(stage: Stage, ground: Ground) -> None:
    """When a roster moves, who listens is told the version to fetch."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    ground.bus.publish_nowait([MembershipChanged(roster.conversation, roster.version)])
    assert await laptop.hear(f.Changed) == f.Changed(f.ChangeKind.MEMBERSHIP, roster.conversation, roster.version)


@pytest.mark.parametrize("count", [1, 40])
async def test_several_frames_travel_in_one_message(stage: Stage, ground: Ground, letters: Letters, count: int) -> None:
    """What is said at once is heard at once: fewer messages on the wire than frames."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(bob_phone, roster.conversation)
    before = phone.messages
    await laptop.say(*(letters.group(roster, alice) for _ in range(count)))
    assert [(await phone.hear(f.New)).seq for _ in range(count)] == list(range(1, count + 1))
    assert phone.messages == before + 1
