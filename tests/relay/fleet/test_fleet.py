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
    settle,
)
from tests.relay.stage import Ground, Letters, Stage, open_room, open_stage, roster_now
from varde_contract import frames as f
from varde_contract.rest.conversations import Role


@asynccontextmanager
async def open_fleet(ground: Ground) -> AsyncIterator[tuple[Stage, Stage]]:
    """Two nodes."""
    async with open_stage(ground) as one, open_stage(ground) as other:
        yield one, other


async def test_a_message_reaches_who_listens_at_another_node(ground: Ground, letters: Letters) -> None:
    """The bus rings, and the other node reads the log for its listeners: each device what is its own."""
    roster = await open_room(ground, alice, bob)
    async with open_fleet(ground) as (one, other):
        laptop = await one.listen(alice_laptop, roster.conversation)
        phone = await other.listen(bob_phone, roster.conversation)
        await laptop.say(letters.each(roster, alice, alice_laptop))
        new = await phone.hear(f.New)
        assert (new.seq, new.sealed) == (1, b"sealed for " + bob_phone.id.bytes)


async def test_two_nodes_that_write_at_once_keep_one_order(ground: Ground, letters: Letters) -> None:
    """Whoever hears of a later number first reads the earlier ones from the log before it is told."""
    roster = await open_room(ground, alice, bob, carol)
    async with open_fleet(ground) as (one, other):
        laptop = await one.listen(alice_laptop, roster.conversation)
        phone = await other.listen(bob_phone, roster.conversation)
        third = await one.listen(carol_phone, roster.conversation)
        for _ in range(5):
            await laptop.say(*(letters.group(roster, alice) for _ in range(3)))
            await phone.say(*(letters.group(roster, bob) for _ in range(3)))
        heard = [frame for frame in await third.hear_some(30) if isinstance(frame, f.New)]
        assert [new.seq for new in heard] == list(range(1, 31))


async def test_receipts_typing_and_presence_cross_nodes(ground: Ground, letters: Letters) -> None:
    """What is told at one node is told at the others, once."""
    roster = await open_room(ground, alice, bob)
    async with open_fleet(ground) as (one, other):
        laptop = await one.listen(alice_laptop, roster.conversation)
        phone = await other.listen(bob_phone, roster.conversation)
        await laptop.say(letters.group(roster, alice))
        await phone.hear(f.New)
        await laptop.hear_some(2)
        await phone.say(f.Typing(roster.conversation, bob.profile, active=True))
        await laptop.hear(f.TypingBy)
        await phone.say(f.Delivered(roster.conversation, 1), f.Read(roster.conversation, bob.profile, 1))
        await laptop.hear(f.DeliveredBy)
        await laptop.hear(f.ReadBy)
        await phone.say(f.Presence(bob.profile, f.PresenceState.AWAY))
        await laptop.hear(f.PresenceOf)
        assert await laptop.hear_now() == []


async def test_what_the_bus_lost_is_delivered_after_it_says_so(ground: Ground, letters: Letters) -> None:
    """Messages, a new conversation and a removal that nobody rang for are found in the store."""
    roster = await open_room(ground, alice, bob, carol)
    async with open_fleet(ground) as (one, other):
        laptop = await one.listen(alice_laptop, roster.conversation)
        phone = await other.call(bob_phone)
        await phone.say(f.Join())
        await phone.hear_now()
        removed = await other.listen(carol_phone, roster.conversation)
        ground.bus.losing = True
        await laptop.say(letters.group(roster, alice))
        await laptop.hear_some(2)
        fresh = await open_room(ground, alice, bob)
        await ground.stores.conversations.remove_member(roster.conversation, roster.version, carol.profile)
        assert await phone.hear_now() == []
        ground.bus.losing = False
        ground.bus.lose_track()
        heard = await phone.hear_now()
        assert [frame.seq for frame in heard if isinstance(frame, f.New)] == [1]
        assert [frame.conversation for frame in heard if isinstance(frame, f.Joined)] == [fresh.conversation]
        assert [frame.kind for frame in await removed.hear_now() if isinstance(frame, f.Changed)] == ["membership"]
        assert len(other.services.hub.listeners(roster.conversation)) == 1


async def test_a_resync_during_an_outage_waits_for_its_end(stage: Stage, ground: Ground, letters: Letters) -> None:
    """The bus and the database usually go together: what was missed comes when both are back."""
    roster = await open_room(ground, alice, bob)
    phone = await stage.listen(bob_phone, roster.conversation)
    with ground.interference.outage():
        ground.bus.lose_track()
        await trio.sleep(30)  # of an outage, in time that jumps
    async with open_stage(ground) as elsewhere:
        ground.bus.losing = True
        laptop = await elsewhere.call(alice_laptop)
        await laptop.say(letters.group(roster, alice))
        await laptop.hear(f.Ack)
        ground.bus.losing = False
    ground.bus.publish_nowait([MessagesCommitted("elsewhere", roster.conversation, 1)])
    assert (await phone.hear(f.New)).seq == 1


async def test_a_doorbell_for_what_was_told_already_changes_nothing(
    stage: Stage, ground: Ground, letters: Letters
) -> None:
    """Late, repeated and foreign doorbells do no harm."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(bob_phone, roster.conversation)
    await laptop.say(letters.group(roster, alice))
    await phone.hear(f.New)
    for head in (0, 1, 1):
        ground.bus.publish_nowait([MessagesCommitted("elsewhere", roster.conversation, head)])
    assert await phone.hear_now() == []


async def test_who_is_removed_while_live_stops_listening(stage: Stage, ground: Ground, letters: Letters) -> None:
    """The removed are told to look and hear nothing more; what they say is as if the conversation did not exist."""
    roster = await open_room(ground, alice, bob, carol)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(carol_phone, roster.conversation)
    moved = await ground.stores.conversations.remove_member(roster.conversation, roster.version, carol.profile)
    assert isinstance(moved, people.RosterMove)
    ground.bus.publish_nowait([MembershipChanged(moved.conversation, moved.version)])
    changed = f.Changed(f.ChangeKind.MEMBERSHIP, roster.conversation, moved.version)
    assert await phone.hear(f.Changed) == changed
    assert await laptop.hear(f.Changed) == changed
    await laptop.say(
        letters.group(await roster_now(ground, roster.conversation), alice),
        f.Typing(roster.conversation, alice.profile, active=True),
    )
    await laptop.hear_some(2)
    assert await phone.hear_now() == []
    for frame in (letters.group(roster, carol), f.Typing(roster.conversation, carol.profile, active=True)):
        await phone.say(frame)
        assert (await phone.hear(f.RefusedFrame)).code == "not-found"


async def test_who_is_added_while_live_begins_to_listen(stage: Stage, ground: Ground, letters: Letters) -> None:
    """A device that joined all hears a conversation it was added to, from then on; another one is told to look."""
    roster = await open_room(ground, alice, bob)
    await settle(ground.stores, carol)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    await laptop.say(letters.group(roster, alice))
    await laptop.hear_some(2)
    phone = await stage.call(carol_phone)
    await phone.say(f.Join())
    await wait_all_tasks_blocked()
    member = (carol.profile, carol.account, Role.MEMBER)
    moved = await ground.stores.conversations.add_member(roster.conversation, roster.version, member, most=9)
    assert isinstance(moved, people.RosterMove)
    ground.bus.publish_nowait([MembershipChanged(moved.conversation, moved.version)])
    assert await phone.hear(f.Joined) == f.Joined(roster.conversation, 2, 1, moved.version)
    await phone.hear(f.Changed)
    await laptop.say(letters.group(await roster_now(ground, roster.conversation), alice))
    assert (await phone.hear(f.New)).seq == 2


async def test_who_is_added_in_the_middle_of_joining_all_listens_once(
    stage: Stage, ground: Ground, letters: Letters
) -> None:
    """Whichever of the two finds the conversation first, it is joined once and told once."""
    roster = await open_room(ground, alice, bob)
    phone = await stage.call(alice_phone)
    await phone.say(f.Join())
    ground.bus.publish_nowait([MembershipChanged(roster.conversation, roster.version)])
    laptop = await stage.call(alice_laptop)
    await laptop.say(letters.group(roster, alice))
    heard = await phone.hear_now()
    assert sorted(f.tag_of(frame) for frame in heard) == ["changed", "joined", "msg:new"]


async def test_a_new_device_is_announced_to_those_who_encrypt_for_it(stage: Stage, ground: Ground) -> None:
    """Members hear that the devices changed; so does the member who joined nothing yet."""
    roster = await open_room(ground, alice, bob)
    laptop, phone = await stage.listen(alice_laptop, roster.conversation), await stage.call(alice_phone)
    await enrol(ground.stores, bob.further_device("tablet"))
    ground.bus.publish_nowait([DevicesChanged(roster.conversation, roster.version + 1)])
    changed = f.Changed(f.ChangeKind.DEVICES, roster.conversation, roster.version + 1)
    assert await laptop.hear(f.Changed) == changed
    assert await phone.hear(f.Changed) == changed


async def test_a_device_is_told_that_its_keys_run_low(stage: Stage, ground: Ground) -> None:
    """Only the device itself, and how many are left."""
    await open_room(ground, alice, bob)
    laptop, phone = await stage.call(alice_laptop), await stage.call(bob_phone)
    ground.bus.publish_nowait([KeysLow(alice_laptop.id, 3)])
    assert await laptop.hear(f.Changed) == f.Changed(f.ChangeKind.KEYS_LOW, None, 3)
    assert await phone.hear_now() == []


async def test_changes_during_an_outage_are_looked_at_afterwards(stage: Stage, ground: Ground) -> None:
    """A roster that cannot be read is read again until it can."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    with ground.interference.outage():
        ground.bus.publish_nowait([MembershipChanged(roster.conversation, roster.version)])
        await trio.sleep(5)  # of an outage, in time that jumps
        assert await laptop.hear_now() == []
    await laptop.hear(f.Changed)


async def test_refusal_unavailable(stage: Stage, ground: Ground, letters: Letters) -> None:
    """While the database is away sends are refused with a time, nothing is acked, and live connections stay."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(bob_phone, roster.conversation)
    stage.nursery.start_soon(phone.hear_some, 1)
    frame = letters.group(roster, alice)
    with ground.interference.outage():
        for _ in range(3):
            await laptop.say(frame)
            refused = await laptop.hear(f.RefusedFrame)
            assert (refused.subject, refused.code) == (frame.client_id, "unavailable")
            assert refused.retry_after_ms is not None
            await trio.sleep(refused.retry_after_ms / 1_000)  # which is what the refusal asked for
    await laptop.say(frame)
    assert (await laptop.hear(f.Ack)).seq == 1
    await wait_all_tasks_blocked()
    assert len(stage.services.hub) == 2


async def test_a_join_waits_for_a_short_outage(stage: Stage, ground: Ground) -> None:
    """The database may be away for a moment without a client noticing more than a delay."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    with ground.interference.outage():
        await laptop.say(f.Join(roster.conversation))
        await trio.sleep(5)  # of an outage, in time that jumps
    await laptop.hear(f.Joined)


@pytest.mark.parametrize("one", [True, False])
async def test_a_join_is_refused_in_a_lasting_outage(stage: Stage, ground: Ground, *, one: bool) -> None:
    """After a while the client is told instead of kept waiting, and may try again on the same connection."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    frame = f.Join(roster.conversation if one else None)
    with ground.interference.outage():
        await laptop.say(frame)
        assert (await laptop.hear(f.RefusedFrame)).code == "unavailable"
    await laptop.say(frame)
    await laptop.hear(f.Joined)


async def test_a_backlog_goes_on_after_an_outage(stage: Stage, ground: Ground, letters: Letters) -> None:
    """What a peer was in the middle of reading comes to its end when the database is back."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(bob_phone, roster.conversation)
    with ground.interference.outage():
        ground.bus.publish_nowait([MessagesCommitted("elsewhere", roster.conversation, 1)])
        await wait_all_tasks_blocked()
    await trio.sleep(2)  # longer than the node waits to ask again, in time that jumps
    await laptop.say(letters.group(roster, alice))
    assert (await phone.hear(f.New)).seq == 1
