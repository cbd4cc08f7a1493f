"""Receipts: gathered, stored, and told as policy allows."""

import trio
from msgspec.structs import replace

from domain.talk.model import Roster
from tests.cast import Person, alice, alice_laptop, alice_phone, bob, bob_laptop, bob_phone
from tests.relay.caller import Caller
from tests.relay.stage import Ground, Letters, Stage, open_room, open_stage
from varde_contract import frames as f
from varde_contract.ids import ConversationId, DeviceId


async def allow(ground: Ground, person: Person, **policies: bool) -> None:
    """Change what a person's private mode shows."""
    changed = replace(person.privat.policies, **policies)
    await ground.stores.profiles.replace(person.account, person.profile, person.privat.theme, changed)


async def talk(stage: Stage, ground: Ground, letters: Letters, count: int) -> tuple[Roster, Caller, Caller]:
    """Let Alice's laptop and Bob's phone listen, and Bob's phone have heard so many messages of Alice."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(bob_phone, roster.conversation)
    await laptop.say(*(letters.group(roster, alice) for _ in range(count)))
    await phone.hear_some(count)
    await laptop.hear_some(2 * count)
    return roster, laptop, phone


def upto(ground: Ground, conversation: ConversationId, device: DeviceId) -> int:
    """Where a device stands in the store."""
    return ground.memory.talks[conversation].positions[device].upto


async def test_frame_receipt_delivered(stage: Stage, ground: Ground, letters: Letters) -> None:
    """What a device confirms is stored, deletes what it was kept for, and is told to the others once."""
    roster, laptop, phone = await talk(stage, ground, letters, 3)
    await phone.say(f.Delivered(roster.conversation, 3))
    assert await laptop.hear(f.DeliveredBy) == f.DeliveredBy(roster.conversation, bob.profile, 3)
    assert upto(ground, roster.conversation, bob_phone.id) == 3
    assert await laptop.hear_now() == []
    assert await phone.hear_now() == []


async def test_frame_receipt_read(stage: Stage, ground: Ground, letters: Letters) -> None:
    """What a person has read is told to the others, and to the person's own other devices."""
    roster, laptop, phone = await talk(stage, ground, letters, 3)
    own = await stage.call(bob_laptop)
    await own.say(f.Join(roster.conversation, 4))
    await own.hear(f.Joined)
    await phone.say(f.Read(roster.conversation, bob.profile, 2))
    told = f.ReadBy(roster.conversation, bob.profile, 2)
    assert await laptop.hear(f.ReadBy) == told
    assert await own.hear(f.ReadBy) == told


async def test_receipts_are_coalesced(ground: Ground, letters: Letters) -> None:
    """However often a position moves within a moment, it is stored and told once, where it stands in the end."""
    async with open_stage(ground, receipts_pause=1.0) as stage:
        roster, laptop, phone = await talk(stage, ground, letters, 9)
        for seq in (3, 9, 5):
            await phone.say(f.Delivered(roster.conversation, seq), f.Read(roster.conversation, bob.profile, seq))
        assert await laptop.hear(f.DeliveredBy) == f.DeliveredBy(roster.conversation, bob.profile, 9)
        assert await laptop.hear(f.ReadBy) == f.ReadBy(roster.conversation, bob.profile, 9)
        await trio.sleep(3)  # longer than receipts gather, in time that jumps
        assert await laptop.hear_now() == []


async def test_a_receipt_that_moves_nothing_is_not_told(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Saying the same again, or less, changes nothing and says nothing."""
    roster, laptop, phone = await talk(stage, ground, letters, 3)
    await phone.say(f.Delivered(roster.conversation, 3))
    await laptop.hear(f.DeliveredBy)
    await phone.say(f.Delivered(roster.conversation, 3), f.Delivered(roster.conversation, 2))
    assert await laptop.hear_now() == []


async def test_a_profile_that_hides_what_it_read_hides_it_from_others_only(
    stage: Stage, ground: Ground, letters: Letters
) -> None:
    """Without read receipts the own devices still keep in step, and nobody else hears."""
    roster = await open_room(ground, alice, bob)
    await allow(ground, bob, read_receipts=False, delivery_receipts=False)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone, own = [await stage.listen(gear, roster.conversation) for gear in (bob_phone, bob_laptop)]
    await laptop.say(letters.group(roster, alice))
    for caller, count in ((laptop, 2), (phone, 1), (own, 1)):
        await caller.hear_some(count)
    await phone.say(f.Delivered(roster.conversation, 1), f.Read(roster.conversation, bob.profile, 1))
    await own.hear(f.ReadBy)
    assert await laptop.hear_now() == []
    assert upto(ground, roster.conversation, bob_phone.id) == 1


async def test_refusal_not_joined(stage: Stage, ground: Ground) -> None:
    """A member that has not joined is asked to, which an outsider never is."""
    roster = await open_room(ground, alice, bob)
    phone = await stage.call(alice_phone)
    said = (
        f.Delivered(roster.conversation, 0),
        f.Read(roster.conversation, alice.profile, 0),
        f.Typing(roster.conversation, alice.profile, active=True),
    )
    for frame in said:
        await phone.say(frame)
        refused = await phone.hear(f.RefusedFrame)
        assert (refused.about, refused.subject, refused.code) == (f.tag_of(frame), roster.conversation, "not-joined")


async def test_a_receipt_beyond_the_log_is_out_of_range(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Nobody holds or has read what does not exist."""
    roster, _, phone = await talk(stage, ground, letters, 1)
    await phone.say(f.Delivered(roster.conversation, 2), f.Read(roster.conversation, bob.profile, 2))
    assert [(await phone.hear(f.RefusedFrame)).code for _ in range(2)] == ["out-of-range"] * 2


async def test_nobody_reads_as_another(stage: Stage, ground: Ground, letters: Letters) -> None:
    """A device marks as read what its own profiles have read."""
    roster, laptop, phone = await talk(stage, ground, letters, 1)
    await phone.say(f.Read(roster.conversation, alice.profile, 1), f.Read(roster.conversation, bob.jobb.id, 1))
    assert [(await phone.hear(f.RefusedFrame)).code for _ in range(2)] == ["profile-not-allowed"] * 2
    assert await laptop.hear_now() == []


async def test_receipts_outlive_an_outage(stage: Stage, ground: Ground, letters: Letters) -> None:
    """What was confirmed while the database was away is stored and told when it is back."""
    roster, laptop, phone = await talk(stage, ground, letters, 2)
    with ground.interference.outage():
        await phone.say(f.Delivered(roster.conversation, 2), f.Read(roster.conversation, bob.profile, 2))
        await trio.sleep(5)  # of an outage, in time that jumps
        assert await laptop.hear_now() == []
    assert await laptop.hear(f.DeliveredBy) == f.DeliveredBy(roster.conversation, bob.profile, 2)
    assert await laptop.hear(f.ReadBy) == f.ReadBy(roster.conversation, bob.profile, 2)


async def test_a_confirmed_message_comes_no_more(stage: Stage, ground: Ground, letters: Letters) -> None:
    """After a reconnect, a device hears what it had not confirmed."""
    roster, _, phone = await talk(stage, ground, letters, 3)
    await phone.say(f.Delivered(roster.conversation, 2))
    assert await phone.hear_now() == []
    await phone.close()
    again = await stage.call(bob_phone)
    await again.say(f.Join(roster.conversation))
    assert (await again.hear(f.Joined)).from_seq == 3
    assert (await again.hear(f.New)).seq == 3
