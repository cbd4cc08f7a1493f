"""Joining, and the backlog that comes with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from msgspec import structs

from domain.talk import model as talk
from tests.cast import alice, alice_laptop, bob, bob_phone, carol, mallory, mallory_phone
from tests.doubles.held_mailbox import HeldMailbox
from tests.relay.backlog import fill, seqs
from tests.relay.memory_node import KEPT, Backend, MemoryNode, Sends, open_node, open_room
from varde_contract import frames as f
from varde_contract.ids import ConversationId
from varde_contract.talk import ConversationKind

NOWHERE = ConversationId(alice_laptop.id)
"""No conversation has this id."""


async def test_frame_join_conversation(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Joining one conversation brings its backlog from where the device had confirmed, in order, then nothing."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 5)
    await backend.stores.mailbox.confirm([talk.Confirmation(roster.conversation, alice_laptop.id, 2)])
    client = await node.connect_client(alice_laptop)
    await client.send(f.Join(roster.conversation))
    assert await client.receive(f.Joined) == f.Joined(roster.conversation, 3, 5, 1, 0, KEPT)
    assert seqs(await client.receive_pending()) == [3, 4, 5]


async def test_frame_joined_names_the_number_asked_for(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A client that wants to begin elsewhere is told from where it will hear."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 5)
    client = await node.connect_client(alice_laptop)
    await client.send(f.Join(roster.conversation, 5))
    assert await client.receive(f.Joined) == f.Joined(roster.conversation, 5, 5, 1, 0, KEPT)
    assert seqs(await client.receive_pending()) == [5]


async def test_joining_all_brings_every_backlog(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """One frame joins every conversation of the device, and each of them comes in order."""
    rosters = [await open_room(backend, alice, bob), await open_room(backend, alice, bob, carol)]
    for roster in rosters:
        await fill(backend, sends, roster, 3)
    client = await node.connect_client(alice_laptop)
    await client.send(f.Join())
    heard = await client.receive_pending()
    joined = [frame for frame in heard if isinstance(frame, f.Joined)]
    assert {frame.conversation for frame in joined} == {roster.conversation for roster in rosters}
    for roster in rosters:
        own = [frame for frame in heard if getattr(frame, "conversation", None) == roster.conversation]
        assert isinstance(own[0], f.Joined)
        assert seqs(own) == [1, 2, 3]


async def test_a_long_backlog_comes_in_order_across_pages(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """More than the outbox holds arrives whole and in order, as the peer reads it."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 700, sealed=bytes(6_000))
    client = await node.connect_client(alice_laptop)
    await client.send(f.Join(roster.conversation))
    heard = await client.receive_many(701)
    assert seqs(heard) == list(range(1, 701))
    assert await client.receive_pending() == []


async def test_what_is_published_during_the_backlog_comes_after_it(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """A message committed while an older page is on its way is told in its turn, once."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 600, sealed=bytes(3_000))
    writer = await node.listen(bob_phone)
    client = await node.connect_client(alice_laptop)
    await client.send(f.Join(roster.conversation))
    begun = await client.receive_many(10)
    for _ in range(5):
        await writer.send(sends.group(roster, bob))
    assert len(await writer.receive_many(5)) == 5
    heard = begun + await client.receive_many(596)
    assert seqs(heard) == list(range(1, 606))
    assert await client.receive_pending() == []


@asynccontextmanager
async def open_held(backend: Backend) -> AsyncIterator[tuple[MemoryNode, HeldMailbox]]:
    """A node whose pages of the log a test can hold back."""
    mailbox = HeldMailbox(backend.stores.mailbox)
    async with open_node(replace(backend, stores=structs.replace(backend.stores, mailbox=mailbox))) as node:
        yield node, mailbox


async def test_what_is_published_after_the_log_was_read_is_not_lost(backend: Backend, sends: Sends) -> None:
    """Between the store's answer and its arrival anything may be committed: it is told next, once."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 2)
    async with open_held(backend) as (node, mailbox):
        writer, client = await node.connect_client(bob_phone), await node.connect_client(alice_laptop)
        mailbox.hold_pages()
        await client.send(f.Join(roster.conversation))
        await mailbox.wait_page_held()
        await writer.send(sends.group(roster, bob), sends.group(roster, bob))
        await writer.receive_many(2)
        mailbox.release_pages()
        await client.receive(f.Joined)
        assert seqs(await client.receive_pending()) == [1, 2, 3, 4]


async def test_joining_again_while_a_page_is_on_its_way_starts_over(backend: Backend, sends: Sends) -> None:
    """A page that was asked for from elsewhere is not what the new beginning is answered with."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 4)
    async with open_held(backend) as (node, mailbox):
        client = await node.connect_client(alice_laptop)
        mailbox.hold_pages()
        await client.send(f.Join(roster.conversation, 4))
        await mailbox.wait_page_held()
        await client.send(f.Join(roster.conversation, 2))
        await client.receive(f.Joined)
        await client.receive(f.Joined)
        mailbox.release_pages()
        assert seqs(await client.receive_pending()) == [2, 3, 4]


async def test_who_comes_back_while_an_old_page_is_on_its_way_hears_it_all(backend: Backend, sends: Sends) -> None:
    """A conversation that was left and joined again is read for the new listener, whatever the old one waited for."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 3)
    async with open_held(backend) as (node, mailbox):
        client = await node.connect_client(alice_laptop)
        mailbox.hold_pages()
        await client.send(f.Join(roster.conversation))
        await mailbox.wait_page_held()
        await client.receive(f.Joined)
        peer = node.services.hub.find(alice_laptop.id)
        assert peer is not None
        node.services.hub.remove_listener(peer, roster.conversation)
        await client.send(f.Join(roster.conversation))
        await client.receive(f.Joined)
        mailbox.release_pages()
        assert seqs(await client.receive_pending()) == [1, 2, 3]
        writer = await node.connect_client(bob_phone)
        await writer.send(sends.group(roster, bob))
        assert seqs(await client.receive_pending()) == [4]


async def test_joining_again_starts_over(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A client that lost what it had asks again from the beginning, and what it hears is in order from there."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 3)
    client = await node.connect_client(alice_laptop)
    await client.send(f.Join(roster.conversation))
    await client.receive_many(4)
    await client.send(f.Join(roster.conversation, 2))
    await client.receive(f.Joined)
    assert seqs(await client.receive_pending()) == [2, 3]
    assert len(node.services.hub.listeners(roster.conversation)) == 1


async def test_refusal_out_of_range(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Nobody joins or asks beyond the next number; the next one itself is where everything new begins."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 2)
    client = await node.connect_client(alice_laptop)
    await client.send(f.Join(roster.conversation, 4))
    assert (await client.receive(f.RefusedFrame)).code == "out-of-range"
    await client.send(f.Sync(roster.conversation, 3))
    assert (await client.receive(f.RefusedFrame)).code == "out-of-range"
    await client.send(f.Join(roster.conversation, 3))
    await client.receive(f.Joined)
    assert await client.receive_pending() == []


async def test_joining_all_from_a_number_is_malformed(node: MemoryNode) -> None:
    """All has no number to begin at."""
    client = await node.connect_client(alice_laptop)
    await client.send(f.Join(None, 1))
    refused = await client.receive(f.RefusedFrame)
    assert (refused.about, refused.subject, refused.code) == ("join:conversation", None, "malformed")


async def test_refusal_too_many(backend: Backend) -> None:
    """A connection listens to so many conversations and no more."""
    first, second = await open_room(backend, alice, bob), await open_room(backend, alice, bob, carol)
    async with open_node(backend, joined=1) as node:
        client = await node.connect_client(alice_laptop)
        await client.send(f.Join(first.conversation), f.Join(second.conversation))
        await client.receive(f.Joined)
        assert (await client.receive(f.RefusedFrame)).code == "too-many"
        await client.send(f.Join())
        assert (await client.receive(f.RefusedFrame)).code == "too-many"


async def test_of_too_many_the_newest_are_joined(backend: Backend) -> None:
    """Others who open many conversations with somebody do not keep a later one from being heard."""
    rosters = [await open_room(backend, alice, *others) for others in ((bob,), (carol,), (bob, carol), (mallory,))]
    newest = sorted((roster.conversation for roster in rosters), reverse=True)
    async with open_node(backend, joined=3) as node:
        client = node.open_client(alice_laptop)
        assert [head.conversation for head in (await client.connect()).heads] == newest
        await client.send(f.Join(newest[-1]), f.Join())
        heard = await client.receive_pending()
        joined = [frame.conversation for frame in heard if isinstance(frame, f.Joined)]
        assert joined == [newest[-1], *newest[:2]], "what is named comes before what is new"
        assert [frame.code for frame in heard if isinstance(frame, f.RefusedFrame)] == ["too-many"]


OUTSIDERS_FRAMES = [
    pytest.param(f.Join, id="join"),
    pytest.param(lambda conversation: f.Join(conversation, 1), id="join-from"),
    pytest.param(lambda conversation: f.Sync(conversation, 1), id="sync"),
    pytest.param(lambda conversation: f.Delivered(conversation, 1), id="delivered"),
    pytest.param(lambda conversation: f.Read(conversation, mallory.profile, 1), id="read"),
    pytest.param(lambda conversation: f.Typing(conversation, mallory.profile, active=True), id="typing"),
    pytest.param(lambda conversation: Sends().group(_bare(conversation), mallory), id="send"),
    pytest.param(lambda conversation: Sends().group(_bare(conversation), alice), id="send-as-member"),
    pytest.param(lambda conversation: Sends().each(_bare(conversation), mallory, mallory_phone), id="send-each"),
]


def _bare(conversation: ConversationId) -> talk.Roster:
    return talk.Roster(conversation, ConversationKind.GROUP, 1, {}, {})


@pytest.mark.parametrize("frame", OUTSIDERS_FRAMES)
async def test_refusal_not_found(node: MemoryNode, backend: Backend, sends: Sends, frame: object) -> None:
    """To an outsider, a conversation of others is in every answer like one that does not exist."""
    assert callable(frame)
    roster = await open_room(backend, alice, bob)
    await open_room(backend, mallory)
    await fill(backend, sends, roster, 2)
    listening = await node.listen(alice_laptop)
    client = await node.connect_client(mallory_phone)
    answers = []
    for conversation in (roster.conversation, NOWHERE):
        await client.send(frame(conversation))
        answers.append(await client.receive(f.RefusedFrame))
    theirs, nothing = answers
    assert theirs.code == "not-found"
    assert (theirs.about, theirs.code, theirs.detail) == (nothing.about, nothing.code, nothing.detail)
    assert (theirs.retry_after_ms, theirs.stale) == (nothing.retry_after_ms, nothing.stale)
    assert await client.receive_pending() == []
    assert await listening.receive_pending() == []
    assert backend.memory.talks[roster.conversation].head == 2
    assert backend.published == []


async def test_an_outsider_that_joins_all_joins_nothing_of_others(node: MemoryNode, backend: Backend) -> None:
    """All means all of this device."""
    await open_room(backend, alice, bob)
    await open_room(backend, mallory)
    client = await node.connect_client(mallory_phone)
    await client.send(f.Join())
    heard = await client.receive_pending()
    assert len(heard) == 1


async def test_a_backlog_comes_in_few_messages(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """What was missed is gathered: a Noise message and a write for each entry would cost the node most of a resume."""
    roster = await open_room(backend, alice, bob)
    phone = await node.connect_client(bob_phone)
    for _ in range(40):
        await phone.send(sends.group(roster, bob))
        await phone.receive(f.Ack)
    laptop = await node.connect_client(alice_laptop)
    before = laptop.messages
    await laptop.send(f.Join(roster.conversation))
    await laptop.receive(f.Joined)
    assert [(await laptop.receive(f.New)).seq for _ in range(40)] == list(range(1, 41))
    assert laptop.messages - before <= 3
