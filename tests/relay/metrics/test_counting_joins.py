"""What comes of joining, what cannot be had any more and what is refused, is counted."""

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from domain.talk import model as talk
from tests.cast import alice, alice_laptop, alice_phone, bob, bob_phone
from tests.relay.caller import Caller
from tests.relay.frames.test_join import DAY_MS, NOWHERE, fill, open_held
from tests.relay.scrape import watch
from tests.relay.stage import Ground, Letters, Stage, open_room, open_stage
from varde_contract import frames as f

RESUMES: Final = "varde_relay_resumes_total"
GAPS: Final = "varde_relay_gap_numbers_total"
REFUSALS: Final = "varde_relay_refusals_total"


async def test_a_resume_without_a_loss_is_counted(stage: Stage, ground: Ground, letters: Letters) -> None:
    """Nothing was missed; then something was, and was there; and joining again counts again."""
    roster = await open_room(ground, alice, bob)
    caller = await stage.call(alice_laptop)

    async def join() -> None:
        await caller.say(f.Join(roster.conversation))
        await caller.hear(f.Joined)
        await caller.hear_now()

    assert (await watch(stage, join)).words(RESUMES) == {"live": 1}
    await fill(ground, letters, roster, 3)
    assert (await watch(stage, join)).words(RESUMES) == {"caught-up": 1}
    assert (await watch(stage, lambda: caller.say(f.Join()))).words(RESUMES) == {}, "all of it is joined already"


async def test_falling_behind_is_no_resume(stage: Stage, ground: Ground, letters: Letters) -> None:
    """What another node committed is read from the log, and nobody had joined for it."""
    roster = await open_room(ground, alice, bob)
    caller = await stage.listen(alice_laptop, roster.conversation)

    async def commit_elsewhere() -> None:
        await fill(ground, letters, roster, 2)
        stage.services.hub.ring(roster.conversation, 2)
        assert len(await caller.hear_some(2)) == 2

    assert (await watch(stage, commit_elsewhere)).words(RESUMES) == {}


async def test_what_expired_is_counted(stage: Stage, ground: Ground, letters: Letters) -> None:
    """The conversation once, and every number of it; a device's own messages are gaps and no loss."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 2)
    ground.clock.go_on(31 * DAY_MS)
    await ground.stores.mailbox.sweep(ground.clock.now_ms, retention_ms=30 * DAY_MS, limit=100)
    await fill(ground, letters, roster, 1)
    caller, phone = await stage.call(alice_laptop), await stage.call(bob_phone)

    async def join() -> None:
        for who in (caller, phone):
            await who.say(f.Join(roster.conversation))
            await who.hear(f.Joined)
            await who.hear_now()

    difference = await watch(stage, join)
    assert difference.words(RESUMES) == {"expired": 1, "live": 1}
    assert difference.words(GAPS) == {"expired": 2, "own": 3}


async def test_gaps_of_a_sync_are_counted(stage: Stage, ground: Ground, letters: Letters) -> None:
    """What was delivered, and is not kept for that device."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 4)
    for device in (alice_laptop, alice_phone, *bob.devices):
        await ground.stores.mailbox.confirm([talk.Confirmation(roster.conversation, device.id, 2)])
    caller = await stage.call(alice_laptop)

    async def sync() -> None:
        await caller.say(f.Sync(roster.conversation, 1))
        await caller.hear_some(3)

    difference = await watch(stage, sync)
    assert difference.words(GAPS) == {"delivered": 2}
    assert difference.words(RESUMES) == {}


async def test_an_own_message_is_no_gap_as_it_is_published(stage: Stage, ground: Ground, letters: Letters) -> None:
    """It would be one for each message that anybody sends."""
    roster = await open_room(ground, alice)
    caller = await stage.listen(alice_laptop, roster.conversation)

    async def send() -> None:
        await caller.say(letters.group(roster, alice))
        await caller.hear_some(2)

    assert (await watch(stage, send)).words(GAPS) == {}


async def test_a_resume_that_breaks_off_is_counted(ground: Ground, letters: Letters) -> None:
    """The peer went, or fell out of the conversation, while its page was on its way."""
    roster = await open_room(ground, alice, bob)
    await fill(ground, letters, roster, 2)
    async with open_held(ground) as (stage, mailbox):
        caller, phone = await stage.call(alice_laptop), await stage.call(alice_phone)
        mailbox.hold_pages()

        async def break_off() -> None:
            for who in (caller, phone):
                await who.say(f.Join(roster.conversation))
                await mailbox.wait_page_held()
            await caller.vanish()
            peer = stage.services.hub.find(alice_phone.id)
            assert peer is not None
            stage.services.hub.drop(peer, roster.conversation)
            mailbox.release_pages()

        assert (await watch(stage, break_off)).words(RESUMES) == {"abandoned": 2}


async def test_a_join_that_is_refused_is_counted(stage: Stage, ground: Ground) -> None:
    """By what it was refused with, and as a resume that came to nothing."""
    await open_room(ground, alice)
    caller = await stage.call(alice_laptop)

    async def join() -> None:
        await caller.say(f.Join(NOWHERE))
        await caller.hear(f.RefusedFrame)

    difference = await watch(stage, join)
    assert difference.words(RESUMES) == {"refused": 1}
    assert difference.words(REFUSALS) == {"not-found": 1}


async def test_a_join_in_a_lasting_outage_is_counted(stage: Stage, ground: Ground) -> None:
    """It waits as long as a join waits, in time that jumps."""
    roster = await open_room(ground, alice)
    caller = await stage.call(alice_laptop)

    async def join() -> None:
        with ground.interference.outage():
            await caller.say(f.Join(roster.conversation))
            await caller.hear(f.RefusedFrame)

    difference = await watch(stage, join)
    assert difference.words(RESUMES) == {"unavailable": 1}
    assert difference.words(REFUSALS) == {"unavailable": 1}


Ask = Callable[[Caller, talk.Roster], Awaitable[object]]

ASKED: Final[list[tuple[str, Ask, dict[str, int]]]] = [
    (
        "at-once",
        lambda caller, _: caller.say(f.Presence(bob.profile, f.PresenceState.AWAY)),
        {"profile-not-allowed": 1},
    ),
    ("later", lambda caller, roster: caller.say(f.Delivered(roster.conversation, 1)), {"not-joined": 1}),
    ("by-the-mailbox", lambda caller, roster: caller.say(f.Sync(roster.conversation, 9)), {"out-of-range": 1}),
    ("as-an-outsider", lambda caller, _: caller.say(f.Sync(NOWHERE, 1)), {"not-found": 1}),
    ("all-from", lambda caller, _: caller.say(f.Join(None, 3)), {"malformed": 1}),
    (
        "too-fast",
        lambda caller, _: caller.say(*[f.Presence(bob.profile, f.PresenceState.AWAY)] * 3),
        {"profile-not-allowed": 1, "rate-limited": 2},
    ),
]


@pytest.mark.parametrize(("ask", "refusals"), [pytest.param(*case[1:], id=case[0]) for case in ASKED])
async def test_a_refusal_is_counted(ground: Ground, ask: Ask, refusals: dict[str, int]) -> None:
    """Each frame once, wherever in the node it is refused."""
    roster = await open_room(ground, alice, bob)
    async with open_stage(ground, ephemeral_per_second=1, burst=1) as stage:
        caller = await stage.call(alice_laptop)

        async def asking() -> None:
            await ask(caller, roster)
            await caller.hear_some(sum(refusals.values()))

        assert (await watch(stage, asking)).words(REFUSALS) == refusals
