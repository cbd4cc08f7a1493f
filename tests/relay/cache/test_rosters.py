"""The cache of rosters and the queries that travel together."""

from collections.abc import Mapping, Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from domain.ports import StoreUnavailable
from relay.cache.batching import BatchedLoader
from relay.cache.rosters import Rosters
from simulation.stores import open_memory_stores
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from tests.cast import alice, alice_laptop, bob, carol, carol_phone, dave, open_conversation, put_member, settle
from varde_contract.ids import ConversationId


class HeldStore:
    """A way to the store that a test opens and shuts. `asked` is what each query asked for."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.gate = trio.Event()
        self.fails = False

    async def load(self, keys: Sequence[int]) -> Mapping[int, str]:
        """Answer for even keys, with the number of the query."""
        self.asked.append(list(keys))
        number = len(self.asked)
        await self.gate.wait()
        if self.fails:
            raise StoreUnavailable
        return {key: f"{key} from query {number}" for key in keys if key % 2 == 0}


async def test_who_asks_while_a_query_is_under_way_shares_the_next(nursery: trio.Nursery) -> None:
    """However many ask, there are two queries: the one under way and one for all who came since."""
    store = HeldStore()
    loader = BatchedLoader(store.load, concurrency=1, batch_size=100)
    answers: list[dict[int, str]] = []

    async def ask(*keys: int) -> None:
        answers.append(await loader.get_many(keys))

    nursery.start_soon(ask, 2)
    await wait_all_tasks_blocked()
    for keys in ((2,), (2, 4), (3,)):
        nursery.start_soon(ask, *keys)
    await wait_all_tasks_blocked()
    store.gate.set()
    await wait_all_tasks_blocked()
    assert [sorted(keys) for keys in store.asked] == [[2], [2, 3, 4]]
    later = "2 from query 2"
    assert sorted(answers, key=str) == sorted(
        [{2: "2 from query 1"}, {2: later}, {2: later, 4: "4 from query 2"}, {}], key=str
    )


async def test_a_query_takes_no_more_than_it_may(nursery: trio.Nursery) -> None:
    """Many keys become several queries."""
    store = HeldStore()
    store.gate.set()
    loader = BatchedLoader(store.load, concurrency=2, batch_size=3)
    found = await loader.get_many(range(8))
    assert sorted(found) == [0, 2, 4, 6]
    assert [len(keys) for keys in store.asked] == [3, 3, 2]


async def test_a_failure_is_told_to_all_who_shared_the_query(nursery: trio.Nursery) -> None:
    """Everybody aboard hears it, and who asks afterwards gets an answer."""
    store = HeldStore()
    store.fails = True
    loader = BatchedLoader(store.load, concurrency=1, batch_size=100)
    failed = []

    async def ask() -> None:
        with pytest.raises(StoreUnavailable):
            await loader.get_many([2])
        failed.append(True)

    for _ in range(3):
        nursery.start_soon(ask)
    await wait_all_tasks_blocked()
    store.gate.set()
    await wait_all_tasks_blocked()
    assert len(failed) == 3
    store.fails = False
    assert await loader.get_many([4]) == {4: f"4 from query {len(store.asked)}"}


async def test_who_shared_a_query_with_somebody_cancelled_still_gets_an_answer(nursery: trio.Nursery) -> None:
    """The one who happened to lead may be cancelled; the others ask again."""
    store = HeldStore()
    loader = BatchedLoader(store.load, concurrency=1, batch_size=100)
    answers: list[dict[int, str]] = []
    leader = trio.CancelScope()

    async def lead() -> None:
        with leader:
            await loader.get_many([2])

    async def follow() -> None:
        answers.append(await loader.get_many([4]))

    nursery.start_soon(loader.get_many, [6])
    await wait_all_tasks_blocked()
    nursery.start_soon(lead)
    await wait_all_tasks_blocked()
    nursery.start_soon(follow)
    await wait_all_tasks_blocked()
    leader.cancel()
    store.gate.set()
    await wait_all_tasks_blocked()
    assert [list(answer) for answer in answers] == [[4]]


class Cabinet:
    """Rosters over the memory stores, with Alice and Bob in a conversation."""

    def __init__(self, capacity: int = 100) -> None:
        self.memory, self.interference = Memory(), Interference()
        self.stores = open_memory_stores(memory=self.memory, interference=self.interference)
        self.rosters = Rosters(self.stores.conversations, capacity)

    async def open(self) -> ConversationId:
        """Settle everybody and open it."""
        await settle(self.stores)
        return await open_conversation(self.stores, alice, bob)


async def test_a_roster_is_kept_until_it_is_forgotten() -> None:
    """At hand without asking, also when the store is away; and gone with a word from the bus."""
    cabinet = Cabinet()
    conversation = await cabinet.open()
    assert cabinet.rosters.get_nowait(conversation) is None
    roster = await cabinet.rosters.get(conversation)
    with cabinet.interference.outage():
        assert await cabinet.rosters.get(conversation) is roster
        cabinet.rosters.forget(conversation)
        with pytest.raises(StoreUnavailable):
            await cabinet.rosters.get(conversation)


async def test_what_moved_while_it_was_fetched_is_not_kept(nursery: trio.Nursery) -> None:
    """An answer that may be older than a change serves who asked before it, and nobody afterwards."""
    cabinet = Cabinet()
    conversation = await cabinet.open()
    nursery.start_soon(cabinet.rosters.get, conversation)
    for _ in range(3):  # into the middle of the fetch
        await trio.lowlevel.checkpoint()
        cabinet.rosters.forget(conversation)
    await wait_all_tasks_blocked()
    assert cabinet.rosters.get_nowait(conversation) is None


async def test_a_no_from_memory_is_checked() -> None:
    """A device that was let in after the roster was kept is found, without any event."""
    cabinet = Cabinet()
    conversation = await cabinet.open()
    assert await cabinet.rosters.find(conversation, carol_phone.id) is None
    roster = await cabinet.rosters.get(conversation)
    assert roster is not None
    await put_member(cabinet.stores, conversation, carol)
    assert await cabinet.rosters.find(conversation, carol_phone.id) is not None
    assert await cabinet.rosters.find(conversation, alice_laptop.id) is not None


async def test_a_profile_that_changed_takes_its_rosters_along() -> None:
    """All conversations with it are fetched again, others are not."""
    cabinet = Cabinet()
    with_bob = await cabinet.open()
    without = await open_conversation(cabinet.stores, alice, carol)
    await cabinet.rosters.remember([with_bob, without])
    assert cabinet.rosters.containing(alice.profile) == {with_bob, without}
    cabinet.rosters.forget_profile(bob.profile)
    assert cabinet.rosters.get_nowait(with_bob) is None
    assert cabinet.rosters.get_nowait(without) is not None
    assert cabinet.rosters.containing(alice.profile) == {without}
    cabinet.rosters.forget_all()
    assert len(cabinet.rosters) == 0
    assert cabinet.rosters.containing(alice.profile) == frozenset()


async def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    """The roster that nobody wanted for longest goes first."""
    cabinet = Cabinet(capacity=2)
    first = await cabinet.open()
    second, fresh = [await open_conversation(cabinet.stores, alice, other) for other in (carol, dave)]
    await cabinet.rosters.get(first)
    await cabinet.rosters.get(second)
    await cabinet.rosters.get(first)
    await cabinet.rosters.get(fresh)
    assert len(cabinet.rosters) == 2
    assert cabinet.rosters.get_nowait(second) is None
    assert cabinet.rosters.get_nowait(first) is not None
