"""Joining, the backlog, sync and the gaps."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from msgspec import structs

from domain.talk import model as talk
from tests.cast import alice, alice_laptop, alice_phone, bob, bob_phone, carol, carol_phone, mallory, mallory_phone
from tests.doubles.held import HeldMailbox
from tests.relay.caller import Caller
from tests.relay.stage import Ground, Letters, Stage, open_room, open_stage, roster_now
from varde_contract import frames as f
from varde_contract.ids import ConversationId, MessageId
from varde_contract.rest.conversations import ConversationKind, Role

NOWHERE = ConversationId(alice_laptop.id)
"""No conversation has this id."""
DAY_MS = 24 * 60 * 60 * 1000


async def fill(ground: Ground, letters: Letters, roster: talk.Roster, count: int, sealed: bytes = b"sealed") -> None:
    """Let Bob's phone have sent so many group messages."""
    drafts = [
        talk.Draft(
            message=MessageId(frame.client_id),
            conversation=roster.conversation,
            roster_version=roster.version,
            client_id=frame.client_id,
            profile=bob.profile,
            device=bob_phone.id,
            sent_ms=ground.clock.now_ms,
            group=sealed,
            devices=None,
        )
        for frame in (letters.group(roster, bob) for _ in range(count))
    ]
    await ground.stores.journal.commit(drafts)


def seqs(frames: list[f.ServerFrame]) -> list[int]:
    """The numbers of messages."""
    return [frame.seq for frame in frames if isinstance(frame, f.New)]


def gaps(frames: list[f.ServerFrame]) -> list[tuple[int, int, str]]:
    """The gaps."""
    return [(frame.from_seq, frame.to_seq, frame.why.value) for frame in frames if isinstance(frame, f.Gap)]


async def test_frame_join_conversation(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Joining one conversation brings its backlog from where the device had confirmed, in order, then nothing."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 5)
    await ground.stores.mailbox.confirm([talk.Confirmation(roster.conversation, alice_laptop.id, 2)])
    caller = await stage.call(alice_laptop)
    await caller.say(f.Join(roster.conversation))
    assert await caller.hear(f.Joined) == f.Joined(roster.conversation, 3, 5, 1)
    assert seqs(await caller.hear_now()) == [3, 4, 5]


async def test_frame_joined_names_the_number_asked_for(stage: Stage, ground: Ground, letters: Letters) -> None:
    """A client that wants to begin elsewhere is told from where it will hear."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 5)
    caller = await stage.call(alice_laptop)
    await caller.say(f.Join(roster.conversation, 5))
    assert await caller.hear(f.Joined) == f.Joined(roster.conversation, 5, 5, 1)
    assert seqs(await caller.hear_now()) == [5]


async def test_joining_all_brings_every_backlog(stage: Stage, ground: Ground, letters: Letters) -> None:
    """One frame joins every conversation of the device, and each of them comes in order."""
    rosters = [await open_room(ground, alice, bob), await open_room(ground, alice, bob, carol)]
    for roster in rosters:
        await fill(ground, letters, roster, 3)
    caller = await stage.call(alice_laptop)
    await caller.say(f.Join())
    heard = await caller.hear_now()
    joined = [frame for frame in heard if isinstance(frame, f.Joined)]
    assert {frame.conversation for frame in joined} == {roster.conversation for roster in rosters}
    for roster in rosters:
        own = [frame for frame in heard if getattr(frame, "conversation", None) == roster.conversation]
        assert isinstance(own[0], f.Joined)
        assert seqs(own) == [1, 2, 3]


async def test_a_long_backlog_comes_in_order_across_pages(stage: Stage, ground: Ground, letters: Letters) -> None:
    """More than the outbox holds arrives whole and in order, as the peer reads it."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 700, sealed=bytes(6_000))
    caller = await stage.call(alice_laptop)
    await caller.say(f.Join(roster.conversation))
    heard = await caller.hear_some(701)
    assert seqs(heard) == list(range(1, 701))
    assert await caller.hear_now() == []


async def test_what_is_published_during_the_backlog_comes_after_it(
    stage: Stage, ground: Ground, letters: Letters
) -> None:
    """A message committed while an older page is on its way is told in its turn, once."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 600, sealed=bytes(3_000))
    writer = await stage.listen(bob_phone)
    caller = await stage.call(alice_laptop)
    await caller.say(f.Join(roster.conversation))
    begun = await caller.hear_some(10)
    for _ in range(5):
        await writer.say(letters.group(roster, bob))
    assert len(await writer.hear_some(5)) == 5
    heard = begun + await caller.hear_some(596)
    assert seqs(heard) == list(range(1, 606))
    assert await caller.hear_now() == []


@asynccontextmanager
async def open_held(ground: Ground) -> AsyncIterator[tuple[Stage, HeldMailbox]]:
    """A node whose pages of the log a test can hold back."""
    mailbox = HeldMailbox(ground.stores.mailbox)
    async with open_stage(replace(ground, stores=structs.replace(ground.stores, mailbox=mailbox))) as stage:
        yield stage, mailbox


async def test_what_is_published_after_the_log_was_read_is_not_lost(ground: Ground, letters: Letters) -> None:
    """Between the store's answer and its arrival anything may be committed: it is told next, once."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 2)
    async with open_held(ground) as (stage, mailbox):
        writer, caller = await stage.call(bob_phone), await stage.call(alice_laptop)
        mailbox.hold_pages()
        await caller.say(f.Join(roster.conversation))
        await mailbox.wait_page_held()
        await writer.say(letters.group(roster, bob), letters.group(roster, bob))
        await writer.hear_some(2)
        mailbox.release_pages()
        await caller.hear(f.Joined)
        assert seqs(await caller.hear_now()) == [1, 2, 3, 4]


async def test_joining_again_while_a_page_is_on_its_way_starts_over(ground: Ground, letters: Letters) -> None:
    """A page that was asked for from elsewhere is not what the new beginning is answered with."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 4)
    async with open_held(ground) as (stage, mailbox):
        caller = await stage.call(alice_laptop)
        mailbox.hold_pages()
        await caller.say(f.Join(roster.conversation, 4))
        await mailbox.wait_page_held()
        await caller.say(f.Join(roster.conversation, 2))
        await caller.hear(f.Joined)
        await caller.hear(f.Joined)
        mailbox.release_pages()
        assert seqs(await caller.hear_now()) == [2, 3, 4]


async def test_who_comes_back_while_an_old_page_is_on_its_way_hears_it_all(ground: Ground, letters: Letters) -> None:
    """A conversation that was left and joined again is read for the new listener, whatever the old one waited for."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 3)
    async with open_held(ground) as (stage, mailbox):
        caller = await stage.call(alice_laptop)
        mailbox.hold_pages()
        await caller.say(f.Join(roster.conversation))
        await mailbox.wait_page_held()
        await caller.hear(f.Joined)
        peer = stage.services.hub.find(alice_laptop.id)
        assert peer is not None
        stage.services.hub.drop(peer, roster.conversation)
        await caller.say(f.Join(roster.conversation))
        await caller.hear(f.Joined)
        mailbox.release_pages()
        assert seqs(await caller.hear_now()) == [1, 2, 3]
        writer = await stage.call(bob_phone)
        await writer.say(letters.group(roster, bob))
        assert seqs(await caller.hear_now()) == [4]


async def test_joining_again_starts_over(stage: Stage, ground: Ground, letters: Letters) -> None:
    """A client that lost what it had asks again from the beginning, and what it hears is in order from there."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 3)
    caller = await stage.call(alice_laptop)
    await caller.say(f.Join(roster.conversation))
    await caller.hear_some(4)
    await caller.say(f.Join(roster.conversation, 2))
    await caller.hear(f.Joined)
    assert seqs(await caller.hear_now()) == [2, 3]
    assert len(stage.services.hub.listeners(roster.conversation)) == 1


async def test_refusal_out_of_range(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Nobody joins or asks beyond the next number; the next one itself is where everything new begins."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 2)
    caller = await stage.call(alice_laptop)
    await caller.say(f.Join(roster.conversation, 4))
    assert (await caller.hear(f.RefusedFrame)).code == "out-of-range"
    await caller.say(f.Sync(roster.conversation, 3))
    assert (await caller.hear(f.RefusedFrame)).code == "out-of-range"
    await caller.say(f.Join(roster.conversation, 3))
    await caller.hear(f.Joined)
    assert await caller.hear_now() == []


async def test_joining_all_from_a_number_is_malformed(stage: Stage) -> None:
    """All has no number to begin at."""
    caller = await stage.call(alice_laptop)
    await caller.say(f.Join(None, 1))
    refused = await caller.hear(f.RefusedFrame)
    assert (refused.about, refused.subject, refused.code) == ("join:conversation", None, "malformed")


async def test_refusal_too_many(ground: Ground) -> None:
    """A connection listens to so many conversations and no more."""
    first, second = await open_room(ground, alice, bob), await open_room(ground, alice, bob, carol)
    async with open_stage(ground, joined=1) as stage:
        caller = await stage.call(alice_laptop)
        await caller.say(f.Join(first.conversation), f.Join(second.conversation))
        await caller.hear(f.Joined)
        assert (await caller.hear(f.RefusedFrame)).code == "too-many"
        await caller.say(f.Join())
        assert (await caller.hear(f.RefusedFrame)).code == "too-many"


OUTSIDERS_FRAMES = [
    pytest.param(f.Join, id="join"),
    pytest.param(lambda conversation: f.Join(conversation, 1), id="join-from"),
    pytest.param(lambda conversation: f.Sync(conversation, 1), id="sync"),
    pytest.param(lambda conversation: f.Delivered(conversation, 1), id="delivered"),
    pytest.param(lambda conversation: f.Read(conversation, mallory.profile, 1), id="read"),
    pytest.param(lambda conversation: f.Typing(conversation, mallory.profile, active=True), id="typing"),
    pytest.param(lambda conversation: Letters().group(_bare(conversation), mallory), id="send"),
    pytest.param(lambda conversation: Letters().group(_bare(conversation), alice), id="send-as-member"),
    pytest.param(lambda conversation: Letters().each(_bare(conversation), mallory, mallory_phone), id="send-each"),
]


def _bare(conversation: ConversationId) -> talk.Roster:
    return talk.Roster(conversation, ConversationKind.GROUP, 1, {}, {})


@pytest.mark.parametrize("frame", OUTSIDERS_FRAMES)
async def test_refusal_not_found(stage: Stage, ground: Ground, letters: Letters, frame: object) -> None:
    """To an outsider, a conversation of others is in every answer like one that does not exist."""
    assert callable(frame)
    roster = await open_room(ground, alice, bob)
    await open_room(ground, mallory)
    await fill(ground, letters, roster, 2)
    listening = await stage.listen(alice_laptop)
    caller = await stage.call(mallory_phone)
    answers = []
    for conversation in (roster.conversation, NOWHERE):
        await caller.say(frame(conversation))
        answers.append(await caller.hear(f.RefusedFrame))
    theirs, nothing = answers
    assert theirs.code == "not-found"
    assert (theirs.about, theirs.code, theirs.detail) == (nothing.about, nothing.code, nothing.detail)
    assert (theirs.retry_after_ms, theirs.stale) == (nothing.retry_after_ms, nothing.stale)
    assert await caller.hear_now() == []
    assert await listening.hear_now() == []
    assert ground.memory.talks[roster.conversation].head == 2
    assert ground.told == []


async def test_an_outsider_that_joins_all_joins_nothing_of_others(stage: Stage, ground: Ground) -> None:
    """All means all of this device."""
    await open_room(ground, alice, bob)
    await open_room(ground, mallory)
    caller = await stage.call(mallory_phone)
    await caller.say(f.Join())
    heard = await caller.hear_now()
    assert len(heard) == 1


async def test_frame_sync(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Numbers that are asked for come again, apart from the live order and without joining."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 6)
    caller = await stage.call(alice_laptop)
    await caller.say(f.Sync(roster.conversation, 2, 3))
    assert seqs(await caller.hear_now()) == [2, 3, 4]
    await caller.say(f.Sync(roster.conversation, 5))
    assert seqs(await caller.hear_now()) == [5, 6]


async def test_a_sync_over_deleted_rows_stays_in_its_range(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Where the log has forgotten even who wrote, the range is one gap and nothing behind it is told."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 4)
    ground.clock.go_on(61 * DAY_MS)
    for _ in range(2):
        await ground.stores.mailbox.sweep(ground.clock.now_ms, retention_ms=30 * DAY_MS, limit=100)
    await fill(ground, letters, roster, 3)
    caller = await stage.call(alice_laptop)
    await caller.say(f.Sync(roster.conversation, 2, 2))
    heard = await caller.hear_now()
    assert gaps(heard) == [(2, 3, "expired")]
    assert seqs(heard) == []


async def test_syncs_are_answered_few_at_a_time(ground: Ground, letters: Letters) -> None:
    """Who asks faster than it can be told is asked to wait."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 2)
    async with open_stage(ground, syncs=2) as stage:
        caller = await stage.call(alice_laptop)
        await caller.say(*(f.Sync(roster.conversation, 1) for _ in range(3)))
        heard = await caller.hear_now()
        assert seqs(heard) == [1, 2, 1, 2]
        assert [frame.code for frame in heard if isinstance(frame, f.RefusedFrame)] == ["too-many"]


async def test_frame_gap(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Every number that cannot be had is accounted for, with its reason, and neighbours are said as one."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 4)
    for device in (alice_laptop, alice_phone, *bob.devices):
        await ground.stores.mailbox.confirm([talk.Confirmation(roster.conversation, device.id, 2)])
    caller = await stage.call(alice_laptop)
    await caller.say(f.Sync(roster.conversation, 1))
    heard = await caller.hear_now()
    assert gaps(heard) == [(1, 2, "delivered")]
    assert seqs(heard) == [3, 4]


async def test_a_gap_says_what_expired(stage: Stage, ground: Ground, letters: Letters) -> None:
    """What nobody fetched in thirty days is gone, and said to be."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 2)
    ground.clock.go_on(31 * DAY_MS)
    await ground.stores.mailbox.sweep(ground.clock.now_ms, retention_ms=30 * DAY_MS, limit=100)
    await fill(ground, letters, roster, 1)
    caller = await stage.call(alice_laptop)
    await caller.say(f.Join(roster.conversation))
    await caller.hear(f.Joined)
    heard = await caller.hear_now()
    assert gaps(heard) == [(1, 2, "expired")]
    assert seqs(heard) == [3]


async def test_a_gap_says_what_was_before_a_member(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Who was added later learns that there was something before, and nothing of it."""
    roster = await open_room(ground, alice, bob)
    await open_room(ground, carol)
    await fill(ground, letters, roster, 3)
    member = (carol.profile, carol.account, Role.MEMBER)
    await ground.stores.conversations.add_member(roster.conversation, roster.version, member, most=9)
    await fill(ground, letters, await roster_now(ground, roster.conversation), 1)
    caller = await stage.call(carol_phone)
    await caller.say(f.Join(roster.conversation, 1))
    await caller.hear(f.Joined)
    heard = await caller.hear_now()
    assert gaps(heard) == [(1, 3, "before-you")]
    assert seqs(heard) == [4]


async def test_a_gap_says_what_was_its_own(stage: Stage, ground: Ground, letters: Letters) -> None:
    """A device that joins later is told that a number was its own message, for which it has no ciphertext."""
    roster = await open_room(ground, alice, bob)
    caller: Caller = await stage.call(alice_laptop)
    await caller.say(letters.group(roster, alice))
    await caller.hear(f.Ack)
    await caller.say(f.Join(roster.conversation))
    await caller.hear(f.Joined)
    assert gaps(await caller.hear_now()) == [(1, 1, "own")]


async def test_a_backlog_comes_in_few_messages(stage: Stage, ground: Ground, letters: Letters) -> None:
    """What was missed is gathered: a Noise message and a write for each entry would cost the node most of a resume."""
    roster = await open_room(ground, alice, bob)
    phone = await stage.call(bob_phone)
    for _ in range(40):
        await phone.say(letters.group(roster, bob))
        await phone.hear(f.Ack)
    laptop = await stage.call(alice_laptop)
    before = laptop.messages
    await laptop.say(f.Join(roster.conversation))
    await laptop.hear(f.Joined)
    assert [(await laptop.hear(f.New)).seq for _ in range(40)] == list(range(1, 41))
    assert laptop.messages - before <= 3
