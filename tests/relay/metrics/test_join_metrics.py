"""What comes of joining, what cannot be had any more and what is refused, is counted."""

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from domain.talk import model as talk
from tests.cast import alice, alice_laptop, alice_phone, bob, bob_phone
from tests.relay.backlog import DAY_MS, fill
from tests.relay.client import StreamClient
from tests.relay.frames.test_join import NOWHERE, open_held
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_node, open_room
from tests.relay.metrics_reader import watch
from varde_contract import frames as f

JOIN_OUTCOME: Final = "varde_relay_resumes_total"
GAPS: Final = "varde_relay_gap_numbers_total"
REFUSALS: Final = "varde_relay_refusals_total"


async def test_a_resume_without_a_loss_is_counted(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Nothing was missed; then something was, and was there; and joining again counts again."""
    roster = await open_room(backend, alice, bob)
    client = await node.connect_client(alice_laptop)

    async def join() -> None:
        await client.send(f.Join(roster.conversation))
        await client.receive(f.Joined)
        await client.receive_pending()

    assert (await watch(node, join)).words(JOIN_OUTCOME) == {"live": 1}
    await fill(backend, sends, roster, 3)
    assert (await watch(node, join)).words(JOIN_OUTCOME) == {"caught-up": 1}
    assert (await watch(node, lambda: client.send(f.Join()))).words(JOIN_OUTCOME) == {}, "all of it is joined already"


async def test_falling_behind_is_no_resume(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """What another node committed is read from the log, and nobody had joined for it."""
    roster = await open_room(backend, alice, bob)
    client = await node.listen(alice_laptop, roster.conversation)

    async def commit_elsewhere() -> None:
        await fill(backend, sends, roster, 2)
        node.services.hub.note_head(roster.conversation, 2)
        assert len(await client.receive_many(2)) == 2

    assert (await watch(node, commit_elsewhere)).words(JOIN_OUTCOME) == {}


async def test_what_expired_is_counted(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """The conversation once, and every number of it; a device's own messages are gaps and no loss."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 2)
    backend.clock.advance(31 * DAY_MS)
    await backend.stores.retention.sweep(backend.clock.now_ms, retention_ms=30 * DAY_MS, limit=100)
    await fill(backend, sends, roster, 1)
    client, phone = await node.connect_client(alice_laptop), await node.connect_client(bob_phone)

    async def join() -> None:
        for who in (client, phone):
            await who.send(f.Join(roster.conversation))
            await who.receive(f.Joined)
            await who.receive_pending()

    difference = await watch(node, join)
    assert difference.words(JOIN_OUTCOME) == {"expired": 1, "live": 1}
    assert difference.words(GAPS) == {"expired": 2, "own": 3}


async def test_gaps_of_a_sync_are_counted(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """What was delivered, and is not kept for that device."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 4)
    for device in (alice_laptop, alice_phone, *bob.devices):
        await backend.stores.mailbox.confirm([talk.Confirmation(roster.conversation, device.id, 2)])
    client = await node.connect_client(alice_laptop)

    async def sync() -> None:
        await client.send(f.Sync(roster.conversation, 1))
        await client.receive_many(3)

    difference = await watch(node, sync)
    assert difference.words(GAPS) == {"delivered": 2}
    assert difference.words(JOIN_OUTCOME) == {}


async def test_an_own_message_is_no_gap_as_it_is_published(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """It would be one for each message that anybody sends."""
    roster = await open_room(backend, alice)
    client = await node.listen(alice_laptop, roster.conversation)

    async def send() -> None:
        await client.send(sends.group(roster, alice))
        await client.receive_many(2)

    assert (await watch(node, send)).words(GAPS) == {}


async def test_a_resume_that_breaks_off_is_counted(backend: Backend, sends: Sends) -> None:
    """The peer went, or fell out of the conversation, while its page was on its way."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 2)
    async with open_held(backend) as (node, mailbox):
        client, phone = await node.connect_client(alice_laptop), await node.connect_client(alice_phone)
        mailbox.hold_pages()

        async def break_off() -> None:
            for who in (client, phone):
                await who.send(f.Join(roster.conversation))
                await mailbox.wait_page_held()
            await client.abort()
            peer = node.services.hub.find(alice_phone.id)
            assert peer is not None
            node.services.hub.remove_listener(peer, roster.conversation)
            mailbox.release_pages()

        assert (await watch(node, break_off)).words(JOIN_OUTCOME) == {"abandoned": 2}


async def test_a_join_that_is_refused_is_counted(node: MemoryNode, backend: Backend) -> None:
    """By what it was refused with, and as a resume that came to nothing."""
    await open_room(backend, alice)
    client = await node.connect_client(alice_laptop)

    async def join() -> None:
        await client.send(f.Join(NOWHERE))
        await client.receive(f.RefusedFrame)

    difference = await watch(node, join)
    assert difference.words(JOIN_OUTCOME) == {"refused": 1}
    assert difference.words(REFUSALS) == {"not-found": 1}


async def test_a_join_in_a_lasting_outage_is_counted(node: MemoryNode, backend: Backend) -> None:
    """It waits as long as a join waits, in time that jumps."""
    roster = await open_room(backend, alice)
    client = await node.connect_client(alice_laptop)

    async def join() -> None:
        with backend.interference.outage():
            await client.send(f.Join(roster.conversation))
            await client.receive(f.RefusedFrame)

    difference = await watch(node, join)
    assert difference.words(JOIN_OUTCOME) == {"unavailable": 1}
    assert difference.words(REFUSALS) == {"unavailable": 1}


Ask = Callable[[StreamClient, talk.Roster], Awaitable[object]]

ASKED: Final[list[tuple[str, Ask, dict[str, int]]]] = [
    (
        "at-once",
        lambda client, _: client.send(f.Presence(bob.profile, f.PresenceState.AWAY)),
        {"profile-not-allowed": 1},
    ),
    ("later", lambda client, roster: client.send(f.Delivered(roster.conversation, 1)), {"not-joined": 1}),
    ("by-the-mailbox", lambda client, roster: client.send(f.Sync(roster.conversation, 9)), {"out-of-range": 1}),
    ("as-an-outsider", lambda client, _: client.send(f.Sync(NOWHERE, 1)), {"not-found": 1}),
    ("all-from", lambda client, _: client.send(f.Join(None, 3)), {"malformed": 1}),
    (
        "too-fast",
        lambda client, _: client.send(*[f.Presence(bob.profile, f.PresenceState.AWAY)] * 3),
        {"profile-not-allowed": 1, "rate-limited": 2},
    ),
]


@pytest.mark.parametrize(("ask", "refusals"), [pytest.param(*case[1:], id=case[0]) for case in ASKED])
async def test_a_refusal_is_counted(backend: Backend, ask: Ask, refusals: dict[str, int]) -> None:
    """Each frame once, wherever in the node it is refused."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend, ephemeral_per_second=1, burst=1) as node:
        client = await node.connect_client(alice_laptop)

        async def asking() -> None:
            await ask(client, roster)
            await client.receive_many(sum(refusals.values()))

        assert (await watch(node, asking)).words(REFUSALS) == refusals
