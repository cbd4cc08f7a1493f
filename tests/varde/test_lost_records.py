"""A restored server lacks signed statements and device lists that this device holds: it gets back those, no others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice_laptop, bob_phone
from tests.chains import Chain
from tests.varde.endpoints import Endpoint, SimulatedConversation, endpoint
from tests.varde.memory_relay import ConversationClients, open_clients, texts
from varde.errors import ListRollback, UntrustedDevice
from varde_contract.membership_statements import Policy
from varde_contract.talk import ConversationKind

DM, GROUP = ConversationKind.DM, ConversationKind.GROUP


def shorten(talk: SimulatedConversation, count: int) -> Chain:
    """Take the last statements off the chain; return it as it was."""
    whole, talk.chain = talk.chain, Chain(talk.chain.keys, talk.conversation)
    for signed in whole.signed[:-count]:
        talk.chain.append(signed)
    return whole


@asynccontextmanager
async def restored(*, takes_back: bool = True) -> AsyncIterator[tuple[ConversationClients, Endpoint, Endpoint, Chain]]:
    """A group in which both have seen two statements that the server has lost, before anybody reconnects."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(GROUP, alice, bob) as room:
        for value in ("members", "admins"):
            room.talk.chain.say(alice, Policy, "invite", value)
        room.talk.version += 1
        room.relay.change(room.talk)
        await room[bob].refresh()
        await room[alice].send("before")
        await wait_all_tasks_blocked()
        whole = shorten(room.talk, 2)
        room.talk.version += 1_000  # versions only grow, also over a loss
        room.relay.takes_back = takes_back
        yield room, alice, bob, whole


async def test_statements_that_were_lost_are_put_back(autojump_clock: MockClock) -> None:
    """By the first client that sees the new epoch, before anybody writes; then the others find the chain they know."""
    async with restored() as (room, alice, bob, whole):
        messages = room.messages(bob)
        assert await texts(messages, 1) == ["before"]
        room.relay.restore({room.talk.conversation: len(room.relay.log[room.talk.conversation])})
        await wait_all_tasks_blocked()
        assert room.talk.chain.signed == whole.signed
        await room[alice].send("after")
        assert await texts(messages, 1) == ["after"]
        await room[bob].send("after, too")
        assert not room[alice].losses()


async def test_a_server_that_takes_nothing_back_shows_an_older_membership(autojump_clock: MockClock) -> None:
    """As one that lies: nothing is sent, and why is told."""
    async with restored(takes_back=False) as (room, alice, _, whole):
        with pytest.raises(UntrustedDevice):
            await room[alice].refresh()
        assert len(room.talk.chain.signed) == len(whole.signed) - 2


async def test_another_chain_is_a_fork_and_is_not_mended(autojump_clock: MockClock) -> None:
    """What the server has is not the beginning of what is known: nothing is put back, and it is told."""
    async with restored() as (room, alice, _, whole):
        room.talk.chain.say(alice, Policy, "invite", "admins")
        before = list(room.talk.chain.signed)
        assert before[:-1] == whole.signed[:-2]
        with pytest.raises(UntrustedDevice):
            await room[alice].refresh()
        assert room.talk.chain.signed == before


async def forget_list(room: ConversationClients, alice: Endpoint) -> bytes:
    """Everybody has seen a second list of Alice's account, and then the server has lost it. Return it."""
    alice.account.put(alice.account.devices)
    for client in room.clients:
        await room[client].refresh()
    room.relay.takes_back = True
    alice.account.lists.pop()
    return alice.account.signed.pop()


async def test_the_own_lists_that_were_lost_are_put_back(autojump_clock: MockClock) -> None:
    """At the next connection, before that is held against the server. Who loses them at once again lies."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(DM, alice, bob) as room:
        lost = await forget_list(room, alice)
        room.relay.cut(alice.id)
        await wait_all_tasks_blocked()
        assert alice.account.signed[1:] == [lost]
        assert room.clients[alice].connected
        room.relay.lists = lambda account: account.signed[:1]
        with pytest.raises(ListRollback):
            await room.clients[alice].own_list.refresh()


async def test_an_own_list_that_somebody_else_put_back_first_is_there(autojump_clock: MockClock) -> None:
    """Between two answers of the server: that is no rollback."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(DM, alice, bob) as room:
        lost = await forget_list(room, alice)
        await wait_all_tasks_blocked()
        shown = iter([alice.account.signed[:0]])
        alice.account.signed.append(lost)
        room.relay.lists = lambda account: next(shown, account.signed)
        assert await room.clients[alice].own_list.refresh() == []


async def test_lists_of_others_that_were_lost_are_put_back(autojump_clock: MockClock) -> None:
    """They are signed, so anybody who holds them may."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(DM, alice, bob) as room:
        lost = await forget_list(room, alice)
        await room[bob].refresh()
        assert alice.account.signed[1:] == [lost]


async def test_another_own_list_is_a_fork_and_is_not_mended(autojump_clock: MockClock) -> None:
    """A list of the same number that this device never saw: the client ends, and says why."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(DM, alice, bob) as room:
        await forget_list(room, alice)
        alice.account.put(alice.account.devices[:0])
        with pytest.raises(ListRollback):
            await room.clients[alice].own_list.refresh()
        with pytest.raises((ListRollback, UntrustedDevice)):
            await room[bob].refresh()
