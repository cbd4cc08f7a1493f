"""How the statements of the stores run: never through a whole table, and never in each other's way."""

from typing import Any

from domain.jobs.ports import WorkerId
from domain.ports import Stores
from domain.talk import model as talk_model
from domain.transparency.sequencing import Signed, sequence
from settings.storage import DatabaseUrl, StorageSettings
from storage.database import Connection
from storage.island import Island
from storage.postgres.pool import open_pool
from storage.postgres.talk.journal import PostgresJournal
from storage.postgres.transactions import Transactions
from storage.stores import open_storage
from tests.cast import (
    BIRTH_MS,
    FAR_MS,
    alice,
    alice_phone,
    bob,
    bob_phone,
    carol,
    open_conversation,
    remove_member,
    revoke,
    set_profiles,
    settle,
)
from tests.ids import id_of
from tests.store_contracts.concurrency import run_concurrently
from tests.store_contracts.messages import client_id, confirm, draft, held, send
from varde_contract.ids import ConversationId
from varde_contract.transparency.checkpoint import log_signers
from varde_contract.transparency.entry import Entry

_READ_WHOLE = "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE seq_scan > 0 AND relname <> ALL ($1)"
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
_PLANS = "SELECT sum(custom_plans) AS custom, sum(generic_plans) AS generic FROM pg_prepared_statements"
WHOLE = ["sweeper", "schema_migration"]
"""One has one row, the other is read when a program starts."""


async def use_everything(stores: Stores) -> None:
    """A short life of a house: each statement of every store at least once."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk), draft(alice_phone, talk, bob_phone))
    await confirm(stores, talk, 2, bob_phone)
    await stores.mailbox.mark_read([(talk, bob.profile, 1)])
    assert await held(stores, bob.devices[1], talk) == [1]
    await stores.conversations.view(talk)
    await stores.conversations.list_for(bob_phone.id, None, 10)
    await stores.conversations.list_many(
        [talk_model.ListRequest(bob_phone.id, None, 10), talk_model.ListRequest(alice_phone.id, talk, 1)]
    )
    await stores.conversations.log_heads([talk])
    await stores.conversations.recent_heads(BIRTH_MS, FAR_MS)
    await stores.journal.find_committed([talk_model.SendKey(talk, alice_phone.id, client_id(1))])
    assert await stores.devices.may_read_lists(alice.account, alice_phone.id, bob.account)
    assert len(await stores.devices.lists(alice.account, 1, 9)) == 2
    await stores.prekeys.claim(bob.account, [(alice.account, alice_phone.id)], now_ms=1, window_ms=1, most=9)
    await stores.sessions.list_live(alice.account, BIRTH_MS)
    assert await stores.devices.adopt(alice.account, alice_phone.id, alice_phone.session.id) is None
    await set_profiles(stores, alice.account, alice_phone.id, [alice.profile], BIRTH_MS)
    await stores.devices.void_tickets(alice.account, alice_phone.id, BIRTH_MS)
    await remove_member(stores, talk, bob)
    await revoke(stores, alice.account, alice_phone.id, BIRTH_MS)
    await stores.devices.revocations(BIRTH_MS)
    await stores.retention.sweep(FAR_MS, retention_ms=1, limit=100)
    await use_log(stores)
    worker = WorkerId(id_of(1))
    assert await stores.leases.take("retention", worker, 1_000)
    await stores.leases.release("retention", worker)


async def use_log(stores: Stores) -> None:
    """The transparency log's part of it."""
    log, signers = stores.transparency, log_signers("log.example", bytes(32), bytes(32))
    for number in (101, 102):
        await log.enqueue([Entry(alice.account, number, bytes(32))])
        assert await sequence(log, signers, BIRTH_MS, Signed(number - 1, bytes(32)) if number == 1 else None)
    head = await log.head()
    assert head is not None
    await log.keep_cosigned(head)
    await log.entries(0, 2)
    assert len(await log.find(alice.account, 101, 9)) == 2
    await log.backlog()


async def test_no_statement_reads_a_whole_table(config: StorageSettings, island: Island, beside: Connection) -> None:
    """Every statement finds its rows by an index, the journal's among them, also while the tables are small."""
    async with open_storage(config) as stores:
        await use_everything(stores)
    assert await island.run(beside.fetch, _READ_WHOLE, WHOLE) == []


async def test_no_statement_is_planned_anew(island: Island, config: StorageSettings) -> None:
    """Each is planned once for a connection, however small a batch is: planning the journal's takes as long as it."""
    assert isinstance(config.database, DatabaseUrl)
    async with open_pool(island, config.database.url, least=1, most=1) as pool:
        transactions = Transactions(island, pool)
        journal = PostgresJournal(transactions)
        for number in range(10):  # Postgres makes up its mind after five
            await journal.commit([draft(alice_phone, ConversationId(id_of(number)))])
        (row,) = await transactions.ask(_read_plans)
    assert row["custom"] == 0
    assert row["generic"] >= 10


async def _read_plans(connection: Connection) -> list[Any]:
    return await connection.fetch(_PLANS)


async def test_nobody_waits_for_each_other_in_a_circle(
    config: StorageSettings, island: Island, beside: Connection
) -> None:
    """With everybody at work at once, on two nodes, the order of locks leaves no deadlock to be undone."""
    async with open_storage(config) as one, open_storage(config) as two:
        await settle(one, alice, bob, carol)
        talks = [await open_conversation(one, *people) for people in ((alice, bob), (bob, carol), (carol, bob, alice))]
        assert await run_concurrently((one, two), talks)
    assert await island.run(beside.fetchval, _DEADLOCKS) == 0
