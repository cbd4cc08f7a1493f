"""What a test can do to the stores in memory, and that it works."""

import pytest
import trio
import trio.testing

from domain.ports import Stores, StoreUnavailable
from domain.talk import model as talk_model
from simulation.stores import open_memory_stores
from simulation.stores.bus import RecordingBus
from simulation.stores.interference import Interference
from tests.cast import alice, alice_phone, bob, open_conversation, settle
from tests.store_contracts.every_event import EVERY_EVENT
from tests.store_contracts.messages import draft, page_of


async def test_an_outage_ends() -> None:
    """During an outage every call is refused and has no effect; after it all is as before."""
    interference = Interference()
    stores = open_memory_stores(interference=interference)
    await settle(stores, alice)
    with interference.outage():
        with pytest.raises(StoreUnavailable):
            await stores.accounts.find(alice.account)
        with pytest.raises(StoreUnavailable):
            await stores.devices.newest_list(alice.account)
        with pytest.raises(StoreUnavailable):
            await stores.journal.commit([])
    assert await stores.devices.find(alice.account, alice_phone.id) == alice_phone.model


async def test_a_held_commit_waits_and_goes_on() -> None:
    """A held commit has stored nothing; released, it stores; everything else goes on meanwhile."""
    interference = Interference()
    stores = open_memory_stores(interference=interference)
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    interference.hold_commits()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stores.journal.commit, [draft(alice_phone, talk)])
        await interference.wait_commit_held()
        await trio.testing.wait_all_tasks_blocked()
        assert (await page_of(stores, alice_phone, talk)).head == 0
        interference.release_commits()
    assert (await page_of(stores, alice_phone, talk)).head == 1


async def test_a_held_commit_fails_when_the_outage_comes_first() -> None:
    """An outage that begins while a commit is held refuses it when it is released."""
    interference = Interference()
    stores = open_memory_stores(interference=interference)
    interference.hold_commits()

    async def commit() -> None:
        with pytest.raises(StoreUnavailable):
            await stores.journal.commit([])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(commit)
        await interference.wait_commit_held()
        interference.unavailable = True
        interference.release_commits()


async def test_a_lost_answer_was_stored() -> None:
    """A commit whose answer is lost is in the log: the same again is a duplicate, with the first one's figures."""
    interference = Interference()
    stores = open_memory_stores(interference=interference)
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    interference.lose_commit_answers()
    sent = draft(alice_phone, talk)
    with pytest.raises(StoreUnavailable):
        await stores.journal.commit([sent])
    assert await stores.journal.commit([sent]) == [talk_model.Committed(sent.message, 1, sent.sent_ms, duplicate=True)]


async def test_a_bus_that_loses_is_deaf_and_says_so_when_told() -> None:
    """A losing bus records and delivers nothing; `lose_track` makes every listener resync."""
    bus = RecordingBus()
    stores: Stores = open_memory_stores(bus=bus)
    resyncs: list[str] = []
    with bus.listen(lambda _: pytest.fail("it was heard"), lambda _: resyncs.append("once")):
        bus.losing = True
        await stores.bus.publish(EVERY_EVENT)
        bus.lose_track()
    assert (bus.published, resyncs) == ([*EVERY_EVENT], ["once"])
