"""Iterating: each message handed out once, in this process and the next, and what passes by."""

import gc

import pytest
from trio.testing import MockClock

from tests.cast import alice_laptop, bob_phone, carol_phone
from tests.varde.desks import MemoryRelay, open_desk
from tests.varde.parties import Table, party
from tests.varde.rooms import first, seated, texts
from varde.errors import Ended
from varde.happenings import LinkDown, LinkUp, Message, Presence, RosterChange, Typing
from varde_contract import frames as f
from varde_contract.rest.conversations import ConversationKind


async def test_each_message_is_handed_out_once(autojump_clock: MockClock) -> None:
    """Iterators share what waits, a new one starts where others were, and a next process goes on behind them."""
    alice, bob = party(alice_laptop), party(bob_phone)
    async with seated(ConversationKind.DM, alice, bob, absent=(bob,)) as room:
        for number in range(4):
            await room[alice].send(str(number))
        async with open_desk(room.relay, bob) as client:
            conversation = client.conversation(room.table.conversation)
            assert await texts(aiter(conversation), 1) == ["0"]
            assert await texts(aiter(conversation), 1) == ["1"]
            client._services.stream.settle()
        async with open_desk(room.relay, bob) as client:
            conversation = client.conversation(room.table.conversation)
            assert await texts(aiter(conversation), 2) == ["2", "3"]
            assert [each.text for each in conversation.history()] == ["0", "1", "2", "3"]


async def test_two_iterators_both_hear_what_is_new(autojump_clock: MockClock) -> None:
    """Who iterates over everything and who iterates over a conversation do not take from each other."""
    alice, bob = party(alice_laptop), party(bob_phone)
    async with seated(ConversationKind.DM, alice, bob) as room:
        one, other = room.messages(bob), room.messages(bob)
        await room[alice].send("begge")
        assert await texts(one, 1) == await texts(other, 1) == ["begge"]


async def test_a_crash_hands_out_again_what_was_being_worked_on(autojump_clock: MockClock) -> None:
    """A message counts as handed out when its reader comes back for more; before that a next process gets it."""
    alice, bob = party(alice_laptop), party(bob_phone)
    async with seated(ConversationKind.DM, alice, bob, absent=(bob,)) as room:
        for number in range(2):
            await room[alice].send(str(number))
        for expected in (["0", "1"], ["1"]):
            async with open_desk(room.relay, bob) as client:
                assert await texts(aiter(client.conversation(room.table.conversation)), len(expected)) == expected


async def test_what_passes_by_is_told(autojump_clock: MockClock) -> None:
    """Typing, presence, connections and rosters are told to who listens."""
    alice, bob, carol = party(alice_laptop), party(bob_phone), party(carol_phone)
    async with seated(ConversationKind.GROUP, alice, bob) as room:
        await room[alice].send("hei")
        happenings = room.clients[bob].happenings()
        profile, conversation = alice.person.profile, room.table.conversation
        room.relay.tell(bob.id, f.TypingBy(conversation, profile, active=True))
        room.relay.tell(bob.id, f.PresenceOf(profile, f.PresenceState.AWAY))
        assert await first(happenings, Typing) == Typing(conversation, profile, active=True)
        assert await first(happenings, Presence) == Presence(profile, f.PresenceState.AWAY)
        room.table.join(carol)
        room.relay.change(room.table)
        change = await first(happenings, RosterChange)
        assert (change.joined, change.devices_added) == ((carol.person.profile,), (carol.id,))
        assert (change.left, change.devices_gone, change.version) == ((), (), 2)
        room.relay.cut(bob.id)
        assert (await first(happenings, LinkDown)).retry_in_s == 0
        assert (await first(happenings, LinkUp)).reconnected


async def test_a_closed_client_ends_its_iterators(autojump_clock: MockClock) -> None:
    """Who still waits when the client goes is told that it went."""
    alice = party(alice_laptop)
    relay = MemoryRelay(Table(ConversationKind.SELF, alice))
    async with open_desk(relay, alice) as client:
        happenings = client.happenings()
        client._services.stream.close(Ended("the end"))
        with pytest.raises(Ended):
            await first(happenings, Typing)


async def test_a_slow_listener_loses_what_passes_and_nothing_else(autojump_clock: MockClock) -> None:
    """However much passes by a listener that does not come, it keeps the newest thousand; messages all wait for it."""
    alice, bob = party(alice_laptop), party(bob_phone)
    async with seated(ConversationKind.DM, alice, bob) as room:
        happenings = room.clients[bob].happenings()
        await room[alice].send("ventet")
        for number in range(1_500):
            room.clients[bob]._services.stream.tell(LinkDown(str(number), None))
        await room[alice].send("på deg")
        heard = [await anext(happenings) for _ in range(1_002)]
        assert [each.text for each in heard if isinstance(each, Message)] == ["ventet", "på deg"]
        assert [each.why for each in heard if isinstance(each, LinkDown)] == [
            str(number) for number in range(500, 1_500)
        ]


async def test_who_left_a_loop_is_forgotten(autojump_clock: MockClock) -> None:
    """An iterator that nobody holds any more costs nothing."""
    alice, bob = party(alice_laptop), party(bob_phone)
    async with seated(ConversationKind.DM, alice, bob) as room:
        for _ in range(20):
            room.clients[bob].happenings()
        gc.collect()
        assert not room.clients[bob]._services.stream._ears
