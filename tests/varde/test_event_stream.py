"""Iterating: each message handed out once, in this process and the next, and what passes by."""

import gc

import pytest
from trio.testing import MockClock

from tests.cast import alice_laptop, bob_phone, carol_phone
from tests.varde.endpoints import SimulatedConversation, endpoint
from tests.varde.memory_relay import MemoryRelay, first, open_client, open_clients, texts
from varde.errors import Ended
from varde.events import Connected, Disconnected, Message, Presence, RosterChange, Typing
from varde_contract import frames as f
from varde_contract.talk import ConversationKind


async def test_each_message_is_handed_out_once(autojump_clock: MockClock) -> None:
    """Iterators share what waits, a new one starts where others were, and a next process goes on behind them."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob, offline=(bob,)) as room:
        for number in range(4):
            await room[alice].send(str(number))
        async with open_client(room.relay, bob) as client:
            conversation = client.conversation(room.talk.conversation)
            assert await texts(aiter(conversation), 1) == ["0"]
            assert await texts(aiter(conversation), 1) == ["1"]
            client._services.events.mark_all_taken()
        async with open_client(room.relay, bob) as client:
            conversation = client.conversation(room.talk.conversation)
            assert await texts(aiter(conversation), 2) == ["2", "3"]
            assert [each.text for each in conversation.history()] == ["0", "1", "2", "3"]


async def test_two_iterators_both_hear_what_is_new(autojump_clock: MockClock) -> None:
    """Who iterates over everything and who iterates over a conversation do not take from each other."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        one, other = room.messages(bob), room.messages(bob)
        await room[alice].send("begge")
        assert await texts(one, 1) == await texts(other, 1) == ["begge"]


async def test_a_crash_hands_out_again_what_was_being_worked_on(autojump_clock: MockClock) -> None:
    """A message counts as handed out when its reader comes back for more; before that a next process gets it."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob, offline=(bob,)) as room:
        for number in range(2):
            await room[alice].send(str(number))
        for expected in (["0", "1"], ["1"]):
            async with open_client(room.relay, bob) as client:
                assert await texts(aiter(client.conversation(room.talk.conversation)), len(expected)) == expected


async def test_what_passes_by_is_told(autojump_clock: MockClock) -> None:
    """Typing, presence, connections and rosters are told to who listens."""
    alice, bob, carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    async with open_clients(ConversationKind.GROUP, alice, bob) as room:
        await room[alice].send("hei")
        events = room.clients[bob].events()
        profile, conversation = alice.person.profile, room.talk.conversation
        room.relay.deliver(bob.id, f.TypingBy(conversation, profile, active=True))
        room.relay.deliver(bob.id, f.PresenceOf(profile, f.PresenceState.AWAY))
        assert await first(events, Typing) == Typing(conversation, profile, active=True)
        assert await first(events, Presence) == Presence(profile, f.PresenceState.AWAY)
        room.talk.join(carol)
        room.relay.change(room.talk)
        change = await first(events, RosterChange)
        assert (change.joined, change.devices_added) == ((carol.person.profile,), (carol.id,))
        assert (change.left, change.devices_gone, change.version) == ((), (), 2)
        room.relay.cut(bob.id)
        assert (await first(events, Disconnected)).retry_in_s == 0
        assert (await first(events, Connected)).reconnected


async def test_a_closed_client_ends_its_iterators(autojump_clock: MockClock) -> None:
    """Who still waits when the client goes is told that it went."""
    alice = endpoint(alice_laptop)
    relay = MemoryRelay(SimulatedConversation(ConversationKind.SELF, alice))
    async with open_client(relay, alice) as client:
        events = client.events()
        client._services.events.close(Ended("the end"))
        with pytest.raises(Ended):
            await first(events, Typing)


async def test_a_slow_listener_loses_what_passes_and_nothing_else(autojump_clock: MockClock) -> None:
    """However much passes by a listener that does not come, it keeps the newest thousand; messages all wait for it."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        events = room.clients[bob].events()
        await room[alice].send("ventet")
        for number in range(1_500):
            room.clients[bob]._services.events.publish(Disconnected(str(number), None))
        await room[alice].send("på deg")
        heard = [await anext(events) for _ in range(1_002)]
        assert [each.text for each in heard if isinstance(each, Message)] == ["ventet", "på deg"]
        assert [each.why for each in heard if isinstance(each, Disconnected)] == [
            str(number) for number in range(500, 1_500)
        ]


async def test_who_left_a_loop_is_forgotten(autojump_clock: MockClock) -> None:
    """An iterator that nobody holds any more costs nothing."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        for _ in range(20):
            room.clients[bob].events()
        gc.collect()
        assert not room.clients[bob]._services.events._iterators
