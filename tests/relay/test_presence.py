"""Typing and presence: told at once, as policy allows, and kept nowhere. Refuses receipts."""

from contract import frames as f
from domain.events import PresenceMoved, ProfileChanged, TypingMoved
from tests.cast import (
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_laptop,
    bob_phone,
    carol,
    carol_phone,
    mallory,
    mallory_phone,
)
from tests.relay.stage import Ground, Stage, open_room
from tests.relay.test_receipts import allow

ACTIVE, OFFLINE = f.PresenceState.ACTIVE, f.PresenceState.OFFLINE


async def test_frame_typing(stage: Stage, ground: Ground) -> None:
    """Other people see that somebody writes; the own devices do not."""
    roster = await open_room(ground, alice, bob)
    laptop, own = [await stage.listen(gear, roster.conversation) for gear in (alice_laptop, alice_phone)]
    phone = await stage.listen(bob_phone, roster.conversation)
    await laptop.say(f.Typing(roster.conversation, alice.profile, active=True))
    assert await phone.hear(f.TypingBy) == f.TypingBy(roster.conversation, alice.profile, active=True)
    assert await own.hear_now() == []
    assert await laptop.hear_now() == []
    assert ground.bus.published == [TypingMoved(stage.services.node, roster.conversation, alice.profile, active=True)]


async def test_a_profile_that_hides_that_it_writes(stage: Stage, ground: Ground) -> None:
    """Policy decides, and a change of it counts as soon as the node hears of it."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(bob_phone, roster.conversation)
    await laptop.say(f.Typing(roster.conversation, alice.profile, active=True))
    await phone.hear(f.TypingBy)
    await allow(ground, alice, typing=False, presence=False)
    ground.bus.publish_nowait([ProfileChanged(alice.profile)])
    await laptop.say(f.Typing(roster.conversation, alice.profile, active=False), f.Presence(alice.profile, ACTIVE))
    assert await phone.hear_now() == []


async def test_nobody_types_as_another(stage: Stage, ground: Ground) -> None:
    """A device shows its own profiles, and in a conversation those that are members."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(bob_phone, roster.conversation)
    await laptop.say(f.Typing(roster.conversation, bob.profile, active=True))
    assert (await laptop.hear(f.RefusedFrame)).code == "profile-not-allowed"
    await laptop.say(f.Typing(roster.conversation, alice.jobb.id, active=True))
    assert (await laptop.hear(f.RefusedFrame)).code == "profile-not-allowed"
    assert await phone.hear_now() == []


async def test_frame_presence(stage: Stage, ground: Ground) -> None:
    """Everybody who shares a conversation sees it, once, and nobody else."""
    first, second = await open_room(ground, alice, bob), await open_room(ground, alice, bob, carol)
    await open_room(ground, mallory)
    laptop = await stage.listen(alice_laptop, first.conversation, second.conversation)
    phone = await stage.listen(bob_phone, first.conversation, second.conversation)
    friend = await stage.listen(carol_phone, second.conversation)
    outsider = await stage.listen(mallory_phone)
    await laptop.say(f.Presence(alice.profile, ACTIVE))
    assert await phone.hear_now() == [f.PresenceOf(alice.profile, ACTIVE)]
    assert await friend.hear_now() == [f.PresenceOf(alice.profile, ACTIVE)]
    assert await outsider.hear_now() == []
    assert await laptop.hear_now() == []


async def test_who_goes_is_shown_as_gone(stage: Stage, ground: Ground) -> None:
    """The end of the last connection that showed a profile is told for it, however it ended."""
    roster = await open_room(ground, alice, bob)
    laptop, own = [await stage.listen(gear, roster.conversation) for gear in (alice_laptop, alice_phone)]
    phone = await stage.listen(bob_phone, roster.conversation)
    for caller in (laptop, own):
        await caller.say(f.Presence(alice.profile, ACTIVE))
        await phone.hear(f.PresenceOf)
    await laptop.vanish()
    assert await phone.hear_now() == []
    await own.close()
    assert await phone.hear(f.PresenceOf) == f.PresenceOf(alice.profile, OFFLINE)


async def test_who_never_showed_anything_goes_unseen(stage: Stage, ground: Ground) -> None:
    """A client that keeps its presence to itself is not given away by its end."""
    roster = await open_room(ground, alice, bob)
    laptop = await stage.listen(alice_laptop, roster.conversation)
    phone = await stage.listen(bob_phone, roster.conversation)
    await laptop.close()
    assert await phone.hear_now() == []
    assert ground.bus.published == []


async def test_presence_from_another_node_reaches_who_listens_here(stage: Stage, ground: Ground) -> None:
    """What the bus says of a profile is told to those who share a conversation with it."""
    roster = await open_room(ground, alice, bob)
    phone = await stage.call(bob_laptop)
    await phone.say(f.Join())
    await phone.hear_now()
    ground.bus.publish_nowait([PresenceMoved("elsewhere", alice.profile, ACTIVE)])
    assert await phone.hear(f.PresenceOf) == f.PresenceOf(alice.profile, ACTIVE)
    assert roster.conversation in stage.services.hub.conversations
