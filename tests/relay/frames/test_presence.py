"""Typing and presence: told at once, as policy allows, and kept nowhere."""

from dataclasses import replace
from functools import partial
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from domain.people.events import ProfileChanged
from domain.talk.events import PresenceMoved, TypingMoved
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
from tests.ids import id_of
from tests.relay.frames.test_receipts import allow
from tests.relay.memory_node import Backend, MemoryNode, open_node, open_room
from varde_contract import frames as f
from varde_contract.ids import ConversationId

ACTIVE, AWAY, OFFLINE = f.PresenceState.ACTIVE, f.PresenceState.AWAY, f.PresenceState.OFFLINE


async def test_frame_typing(node: MemoryNode, backend: Backend) -> None:
    """Other people see that somebody writes; the own devices do not."""
    roster = await open_room(backend, alice, bob)
    laptop, own = [await node.listen(device, roster.conversation) for device in (alice_laptop, alice_phone)]
    phone = await node.listen(bob_phone, roster.conversation)
    await laptop.send(f.Typing(roster.conversation, alice.profile, active=True))
    assert await phone.receive(f.TypingBy) == f.TypingBy(roster.conversation, alice.profile, active=True)
    assert await own.receive_pending() == []
    assert await laptop.receive_pending() == []
    assert backend.published == [TypingMoved(node.services.node, roster.conversation, alice.profile, active=True)]


async def test_a_profile_that_hides_that_it_writes(node: MemoryNode, backend: Backend) -> None:
    """Policy decides, and a change of it counts as soon as the node hears of it."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    await laptop.send(f.Typing(roster.conversation, alice.profile, active=True))
    await phone.receive(f.TypingBy)
    await allow(backend, alice, typing=False, presence=False)
    backend.bus.publish_nowait([ProfileChanged(alice.profile)])
    await laptop.send(f.Typing(roster.conversation, alice.profile, active=False), f.Presence(alice.profile, ACTIVE))
    assert await phone.receive_pending() == []


async def test_nobody_types_as_another(node: MemoryNode, backend: Backend) -> None:
    """A device shows its own profiles, and in a conversation those that are members."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    await laptop.send(f.Typing(roster.conversation, bob.profile, active=True))
    assert (await laptop.receive(f.RefusedFrame)).code == "profile-not-allowed"
    await laptop.send(f.Typing(roster.conversation, alice.jobb.id, active=True))
    assert (await laptop.receive(f.RefusedFrame)).code == "profile-not-allowed"
    assert await phone.receive_pending() == []


async def test_frame_presence(node: MemoryNode, backend: Backend) -> None:
    """Everybody who shares a conversation sees it, once, and nobody else."""
    first, second = await open_room(backend, alice, bob), await open_room(backend, alice, bob, carol)
    await open_room(backend, mallory)
    laptop = await node.listen(alice_laptop, first.conversation, second.conversation)
    phone = await node.listen(bob_phone, first.conversation, second.conversation)
    friend = await node.listen(carol_phone, second.conversation)
    outsider = await node.listen(mallory_phone)
    await laptop.send(f.Presence(alice.profile, ACTIVE))
    assert await phone.receive_pending() == [f.PresenceOf(alice.profile, ACTIVE)]
    assert await friend.receive_pending() == [f.PresenceOf(alice.profile, ACTIVE)]
    assert await outsider.receive_pending() == []
    assert await laptop.receive_pending() == []


async def test_who_goes_is_shown_as_gone(node: MemoryNode, backend: Backend) -> None:
    """The end of the last connection that showed a profile is told for it, however it ended."""
    roster = await open_room(backend, alice, bob)
    laptop, own = [await node.listen(device, roster.conversation) for device in (alice_laptop, alice_phone)]
    phone = await node.listen(bob_phone, roster.conversation)
    for client in (laptop, own):
        await client.send(f.Presence(alice.profile, ACTIVE))
        await phone.receive(f.PresenceOf)
    await laptop.abort()
    assert await phone.receive_pending() == []
    await own.close()
    assert await phone.receive(f.PresenceOf) == f.PresenceOf(alice.profile, OFFLINE)


async def test_who_never_showed_anything_goes_unseen(node: MemoryNode, backend: Backend) -> None:
    """A client that keeps its presence to itself is not given away by its end."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    await laptop.close()
    assert await phone.receive_pending() == []
    assert backend.published == []


async def test_presence_from_another_node_reaches_who_listens_here(node: MemoryNode, backend: Backend) -> None:
    """What the bus says of a profile is told to those who share a conversation with it."""
    roster = await open_room(backend, alice, bob)
    phone = await node.connect_client(bob_laptop)
    await phone.send(f.Join())
    await phone.receive_pending()
    backend.bus.publish_nowait([PresenceMoved("elsewhere", alice.profile, ACTIVE)])
    assert await phone.receive(f.PresenceOf) == f.PresenceOf(alice.profile, ACTIVE)
    assert roster.conversation in node.services.hub.conversations


async def test_a_state_that_is_shown_already_is_not_told_again(node: MemoryNode, backend: Backend) -> None:
    """A client that repeats itself costs nobody anything, and one that was never there does not go."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    for state, heard in ((OFFLINE, []), (ACTIVE, [ACTIVE]), (ACTIVE, []), (AWAY, [AWAY]), (OFFLINE, [OFFLINE])):
        await laptop.send(f.Presence(alice.profile, state))
        assert await phone.receive_pending() == [f.PresenceOf(alice.profile, each) for each in heard]
    assert len(backend.published) == 3


async def test_of_what_a_profile_shows_within_a_second_the_latest_is_told(backend: Backend) -> None:
    """The first change is told at once, then one a second: here, to other nodes, and from them."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend, presence_pause=1.0) as node:
        laptop = await node.listen(alice_laptop, roster.conversation)
        phone = await node.listen(bob_phone, roster.conversation)
        await laptop.send(f.Presence(alice.profile, ACTIVE))
        assert await phone.receive(f.PresenceOf) == f.PresenceOf(alice.profile, ACTIVE)
        await laptop.send(
            *(f.Presence(alice.profile, state) for state in [AWAY, ACTIVE] * 8), f.Presence(alice.profile, AWAY)
        )
        await laptop.close()
        assert await phone.receive_pending() == []
        assert len(backend.published) == 1
        told = trio.current_time()
        assert await phone.receive(f.PresenceOf) == f.PresenceOf(alice.profile, OFFLINE)
        assert trio.current_time() - told <= 1.0  # in time that jumps
        await wait_all_tasks_blocked()
        assert [event.state for event in backend.published if isinstance(event, PresenceMoved)] == [ACTIVE, OFFLINE]
        backend.bus.publish_nowait([PresenceMoved("elsewhere", alice.profile, state) for state in (ACTIVE, AWAY)])
        assert await phone.receive(f.PresenceOf) == f.PresenceOf(alice.profile, AWAY)


class Turns(trio.abc.Instrument):
    """Records how many rosters were looked at in each turn of a task."""

    def __init__(self) -> None:
        self.looks = [0]

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - Trio calls it
        """Begin a turn."""
        self.looks.append(0)

    def look(self, way: Any, conversation: Any) -> Any:
        """Look at a roster the given way."""
        self.looks[-1] += 1
        return way(conversation)


async def test_who_shares_very_many_conversations_does_not_hold_the_loop(node: MemoryNode, backend: Backend) -> None:
    """Others have their turn while the rosters of one profile are walked."""
    roster = await open_room(backend, alice, bob)
    talks = backend.memory.talks
    talks |= {
        each: replace(talks[roster.conversation], id=each) for each in (ConversationId(id_of(i)) for i in range(1, 201))
    }
    laptop = await node.connect_client(alice_laptop)
    await laptop.send(f.Join())
    await laptop.receive_pending()
    phone = await node.listen(bob_phone, roster.conversation)
    turns = Turns()
    kept = node.services.rosters
    kept.get_nowait = partial(turns.look, kept.get_nowait)  # type: ignore[method-assign] # it records, and changes nothing
    trio.lowlevel.add_instrument(turns)
    await laptop.send(f.Presence(alice.profile, ACTIVE))
    assert await phone.receive(f.PresenceOf) == f.PresenceOf(alice.profile, ACTIVE)
    trio.lowlevel.remove_instrument(turns)
    assert sum(turns.looks) >= 200
    assert max(turns.looks) <= 32


async def test_ephemeral_frames_have_a_rate_of_their_own(node: MemoryNode, backend: Backend) -> None:
    """Beyond it they are refused with a time, one by one, and nothing else that the client says is."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    typing = f.Typing(roster.conversation, alice.profile, active=True)
    await laptop.send(*[typing] * 41, f.Presence(alice.profile, ACTIVE), f.Join(roster.conversation))
    refused, also, joined = await laptop.receive_many(3)
    assert isinstance(refused, f.RefusedFrame)
    assert isinstance(also, f.RefusedFrame)
    assert isinstance(joined, f.Joined)
    assert [(each.about, each.code) for each in (refused, also)] == [
        ("typing", "rate-limited"),
        ("presence", "rate-limited"),
    ]
    assert len(await phone.receive_pending()) == 40
    assert refused.retry_after_ms is not None
    await trio.sleep(refused.retry_after_ms / 1_000)  # which is what the refusal asked for
    await laptop.send(typing)
    assert await phone.receive_pending() == [f.TypingBy(roster.conversation, alice.profile, active=True)]
