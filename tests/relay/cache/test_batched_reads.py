"""Conversation heads and stored messages: what many ask for at the same moment is one query."""

from collections.abc import Sequence

import trio
from trio.testing import wait_all_tasks_blocked

from domain.talk import model as talk_model
from domain.talk.ports import JournalStore
from relay.cache.batched_reads import (
    LISTS_PER_QUERY,
    PAGE_QUERIES_AT_ONCE,
    PAGES_PER_QUERY,
    CommittedMessages,
    ConversationHeads,
    LogReader,
)
from relay.cache.epochs import Epochs
from relay.cache.outage import Outage
from relay.metrics.counters import Metrics
from simulation.stores import open_memory_stores
from simulation.stores.conversations import MemoryConversations
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from tests.cast import alice, alice_phone, bob, bob_phone, carol, mallory_phone, open_conversation, settle
from tests.store_contracts.messages import client_id, draft, send


class CountedConversations(MemoryConversations):
    """A store that remembers its queries."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory, Interference())
        self.queries: list[int] = []

    async def list_many(
        self, requests: Sequence[talk_model.ListRequest]
    ) -> Sequence[Sequence[talk_model.ConversationHead]]:
        """Count, and answer."""
        self.queries.append(len(requests))
        return await super().list_many(requests)


class CountedJournal:
    """The questions to a journal, remembered."""

    def __init__(self, journal: JournalStore) -> None:
        self._journal = journal
        self.queries: list[int] = []

    async def commit(
        self, drafts: Sequence[talk_model.Draft]
    ) -> Sequence[talk_model.Committed | talk_model.RosterOutdated]:
        """As it is."""
        return await self._journal.commit(drafts)

    async def find_committed(self, keys: Sequence[talk_model.SendKey]) -> Sequence[talk_model.Committed | None]:
        """Count, and answer."""
        self.queries.append(len(keys))
        return await self._journal.find_committed(keys)


async def test_a_storm_of_lists_is_a_few_queries(nursery: trio.Nursery) -> None:
    """Everybody gets their own page; whoever asks while all queries run shares the next one, bounded in size."""
    memory = Memory()
    stores = open_memory_stores(memory=memory)
    await settle(stores, alice, bob, carol)
    talks = [await open_conversation(stores, *people) for people in ((alice, bob), (alice, carol))]
    store = CountedConversations(memory)
    heads = ConversationHeads(store)
    pages: list[tuple[talk_model.ListRequest, list[talk_model.ConversationHead]]] = []

    async def ask(number: int) -> None:
        device = (alice_phone, mallory_phone)[number % 2].id
        request = talk_model.ListRequest(device, None, 1 + number)
        pages.append((request, list(await heads.list_for(device, None, request.limit))))

    for number in range(4 * LISTS_PER_QUERY):
        nursery.start_soon(ask, number)
    await wait_all_tasks_blocked()
    assert len(pages) == 4 * LISTS_PER_QUERY
    for request, page in pages:
        listed = sorted(talks, reverse=True)[: request.limit] if request.device == alice_phone.id else []
        assert [head.conversation for head in page] == listed
    assert sum(store.queries) == 4 * LISTS_PER_QUERY
    assert max(store.queries) == LISTS_PER_QUERY
    assert len(store.queries) <= 6


async def test_what_many_have_missed_is_read_in_a_few_queries(nursery: trio.Nursery) -> None:
    """A crowd of listeners whose number is missing reads the log together, each its own page of it."""
    stores = open_memory_stores()
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk))
    metrics, pages = Metrics(), list[talk_model.LogPage]()
    reader = LogReader(stores.mailbox, Epochs(stores.epochs, lambda: None), Outage(1.0), metrics)

    async def catch_up(number: int) -> None:
        request = talk_model.LogRequest(bob_phone.id, talk, 1, 1 + number, 1_000)
        pages.append((await reader.read([request]))[request])

    for number in range(4 * PAGES_PER_QUERY):
        nursery.start_soon(catch_up, number)
    await wait_all_tasks_blocked()
    assert [page.head for page in pages] == [1] * 4 * PAGES_PER_QUERY
    assert metrics.read_requests.total == 4 * PAGES_PER_QUERY
    assert sum(metrics.read_requests.counts) <= PAGE_QUERIES_AT_ONCE + 4


async def test_stored_messages_are_looked_up_together(nursery: trio.Nursery) -> None:
    """Of many who are about to be refused, those whose message was stored have its figures, after a query or two."""
    stores = open_memory_stores()
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    (first,) = await send(stores, draft(alice_phone, talk, client=3))
    journal = CountedJournal(stores.journal)
    stored_before = CommittedMessages(journal)
    found: dict[talk_model.SendKey, talk_model.Committed] = {}

    async def ask(number: int) -> None:
        key = talk_model.SendKey(talk, alice_phone.id, client_id(number))
        (committed,) = await stored_before.find([key])
        if committed is not None:
            found[key] = committed

    for number in range(50):
        nursery.start_soon(ask, number)
    await wait_all_tasks_blocked()
    key = talk_model.SendKey(talk, alice_phone.id, client_id(3))
    assert found == {key: talk_model.Committed(first.message, 1, first.sent_ms, duplicate=True)}
    assert sum(journal.queries) == 50
    assert len(journal.queries) <= 2
