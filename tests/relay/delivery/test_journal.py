"""The journal from outside: batches, and commits that wait, fail or never answer."""

import trio
from trio.testing import wait_all_tasks_blocked

from tests.cast import (
    alice,
    alice_laptop,
    bob,
    bob_phone,
)
from tests.relay.stage import Ground, Letters, Stage, open_room, open_stage, waiting_bytes
from varde_contract import frames as f
from varde_contract.rest.conversations import Role


async def test_nothing_is_acked_or_told_before_the_commit(stage: Stage, ground: Ground, letters: Letters) -> None:
    """While the commit hangs, neither the sender nor anybody else hears a thing; afterwards both do."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(bob_phone, roster.conversation)
    ground.interference.hold_commits()
    await laptop.say(letters.group(roster, alice))
    await ground.interference.wait_commit_held()
    assert await laptop.hear_now() == []
    assert await phone.hear_now() == []
    assert ground.told == []
    ground.interference.release_commits()
    await laptop.hear(f.Ack)
    await phone.hear(f.New)


async def test_what_waits_for_a_commit_is_one_batch(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Frames of several connections that gather during a commit are stored by the next one together."""
    roster = await open_room(ground, alice, bob)
    laptop, phone = await stage.call(alice_laptop), await stage.call(bob_phone)
    ground.interference.hold_commits()
    await laptop.say(letters.group(roster, alice))
    await ground.interference.wait_commit_held()
    await laptop.say(letters.group(roster, alice), letters.group(roster, alice))
    await phone.say(letters.group(roster, bob))
    await wait_all_tasks_blocked()
    ground.interference.release_commits()
    assert [ack.seq for ack in [await laptop.hear(f.Ack) for _ in range(3)]] == [1, 2, 3]
    assert (await phone.hear(f.Ack)).seq == 4
    batches = getattr(ground.stores.journal, "batches", [])
    assert [len(batch) for batch in batches] == [1, 3]


async def test_a_lost_answer_is_found_by_sending_again(stage: Stage, ground: Ground, letters: Letters) -> None:
    """A commit whose answer was lost is refused as unavailable; the same client id brings its ack and its fan-out."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(bob_phone, roster.conversation)
    ground.interference.lose_commit_answers()
    frame = letters.group(roster, alice)
    await laptop.say(frame)
    refused = await laptop.hear(f.RefusedFrame)
    assert (refused.about, refused.subject, refused.code) == ("msg:send", frame.client_id, "unavailable")
    assert await phone.hear_now() == []
    assert refused.retry_after_ms is not None
    await trio.sleep(refused.retry_after_ms / 1_000)  # which is what the refusal asked for
    await laptop.say(frame)
    assert (await laptop.hear(f.Ack)).seq == 1
    assert (await phone.hear(f.New)).client_id == frame.client_id


async def test_an_outage_between_two_tries_is_said(stage: Stage, ground: Ground, letters: Letters) -> None:
    """A send that has to be decided again while the database is away is refused as unavailable."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    ground.interference.hold_commits()
    await laptop.say(letters.each(roster, alice, alice_laptop))
    await ground.interference.wait_commit_held()
    await ground.stores.conversations.set_role(roster.conversation, roster.version, bob.profile, Role.ADMIN)
    ground.interference.release_commits()
    batches = ground.stores.journal.batches  # type: ignore[attr-defined]
    while not batches:
        await trio.lowlevel.checkpoint()
    with ground.interference.outage():
        assert (await laptop.hear(f.RefusedFrame)).code == "unavailable"


async def test_who_waits_behind_a_failed_commit_is_refused_at_once(
    stage: Stage, ground: Ground, letters: Letters
) -> None:
    """Nobody waits for one deadline after another: the first failure answers for everything in the queue."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    ground.interference.hold_commits()
    await laptop.say(letters.group(roster, alice))
    await ground.interference.wait_commit_held()
    await laptop.say(*(letters.group(roster, alice) for _ in range(3)))
    await wait_all_tasks_blocked()
    ground.interference.unavailable = True
    ground.interference.release_commits()
    assert [(await laptop.hear(f.RefusedFrame)).code for _ in range(4)] == ["unavailable"] * 4
    ground.interference.unavailable = False
    assert await laptop.hear_now() == []


async def test_a_commit_without_an_answer_has_a_deadline(stage: Stage, ground: Ground, letters: Letters) -> None:
    """A database that neither answers nor fails is taken for one that is away."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.call(alice_laptop)
    ground.interference.hold_commits()
    await laptop.say(letters.group(roster, alice))
    assert (await laptop.hear(f.RefusedFrame)).code == "unavailable"


async def test_refusal_overloaded(ground: Ground, letters: Letters) -> None:
    """When too many wait for the database, the next is asked to come back, and those that wait are stored."""
    roster = await open_room(ground, alice, bob)
    async with open_stage(ground, queue_drafts=2) as stage:
        laptop = await stage.call(alice_laptop)
        ground.interference.hold_commits()
        await laptop.say(letters.group(roster, alice))
        await ground.interference.wait_commit_held()
        await laptop.say(*(letters.group(roster, alice) for _ in range(3)))
        refused = await laptop.hear(f.RefusedFrame)
        assert refused.code == "overloaded"
        assert refused.retry_after_ms is not None
        ground.interference.release_commits()
        assert [(await laptop.hear(f.Ack)).seq for _ in range(3)] == [1, 2, 3]


async def test_what_waits_is_bounded_in_bytes(ground: Ground, letters: Letters) -> None:
    """A few large messages fill the queue as many small ones do, and what is written makes room again."""
    roster = await open_room(ground, alice, bob)
    async with open_stage(ground, queue_bytes=1_000) as stage:
        laptop = await stage.call(alice_laptop)
        for seqs in ([1, 2, 3], [4, 5, 6]):
            ground.interference.hold_commits()
            await laptop.say(letters.group(roster, alice))
            await ground.interference.wait_commit_held()
            await laptop.say(*(letters.group(roster, alice, bytes(500)) for _ in range(3)))
            assert (await laptop.hear(f.RefusedFrame)).code == "overloaded"
            ground.interference.release_commits()
            assert [(await laptop.hear(f.Ack)).seq for _ in range(3)] == seqs


async def test_bytes_that_were_refused_make_room(ground: Ground, letters: Letters) -> None:
    """After an outage that emptied the queue, all the room is there again."""
    roster = await open_room(ground, alice, bob)
    async with open_stage(ground, queue_bytes=1_000) as stage:
        laptop = await stage.call(alice_laptop)
        ground.interference.hold_commits()
        await laptop.say(letters.group(roster, alice))
        await ground.interference.wait_commit_held()
        await laptop.say(*(letters.group(roster, alice, bytes(500)) for _ in range(2)))
        await wait_all_tasks_blocked()
        ground.interference.unavailable = True
        ground.interference.release_commits()
        assert [(await laptop.hear(f.RefusedFrame)).code for _ in range(3)] == ["unavailable"] * 3
        ground.interference.unavailable = False
        await trio.sleep(stage.services.config.outage_patience)  # in time that jumps
        await laptop.say(*(letters.group(roster, alice, bytes(500)) for _ in range(2)))
        assert [(await laptop.hear(f.Ack)).seq for _ in range(2)] == [1, 2]
        assert waiting_bytes(stage) == 0
