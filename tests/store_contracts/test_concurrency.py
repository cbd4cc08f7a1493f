"""The contract of all stores of a conversation at once, on two nodes."""

from itertools import chain

import trio

from domain.ports import Stores
from domain.talk import model as talk_model
from tests.cast import alice, bob, bob_phone, carol, open_conversation, settle
from tests.store_contracts.concurrency import ROUNDS, change_members, change_whitelist, run_concurrently
from tests.store_contracts.messages import page_of

DEADLINE = 60
"""Seconds. A deadlock is undone by the database and tried again; only a wait without end takes this long."""


async def test_everybody_at_once_gets_an_answer(nodes: tuple[Stores, Stores]) -> None:
    """Journals of two nodes beside members, devices, readers and sweepers never lock up, and number without holes."""
    await settle(nodes[0], alice, bob, carol)
    talks = [await open_conversation(nodes[0], *people) for people in ((alice, bob), (bob, carol), (carol, bob, alice))]
    with trio.fail_after(DEADLINE):
        written = await run_concurrently(nodes, talks)
    assert len(written) == 2 * ROUNDS * len(talks)
    heads = [(await page_of(nodes[0], bob_phone, talk)).head for talk in talks]
    stored = [answer.seq for answer in written if isinstance(answer, talk_model.Committed)]
    assert sorted(stored) == sorted(chain.from_iterable(range(1, head + 1) for head in heads))


async def test_the_roster_and_the_positions_agree_after_all_that(nodes: tuple[Stores, Stores]) -> None:
    """However members and devices came and went, exactly the devices of the roster may read."""
    await settle(nodes[0], alice, bob, carol)
    talk = await open_conversation(nodes[0], alice, bob)
    device = (*alice.devices, *bob.devices, *carol.devices)
    async with trio.open_nursery() as nursery:
        for stores in nodes:
            nursery.start_soon(change_members, stores, talk, alice)
            nursery.start_soon(change_members, stores, talk, carol)
        for number, each in enumerate(device):
            nursery.start_soon(change_whitelist, nodes[number % 2], each)
    roster = (await nodes[0].conversations.rosters([talk]))[talk]
    pages = await nodes[0].mailbox.read([talk_model.LogRequest(each.id, talk, 1, 1, 1) for each in device])
    readers = {each.id for each, page in zip(device, pages, strict=True) if page is not None}
    assert readers == roster.devices.keys()
