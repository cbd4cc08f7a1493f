"""Each program works as a database user of its own, and is refused what it does not need."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
from msgspec import structs

from domain.ports import Stores
from settings.storage import DatabaseUrl, StorageSettings
from storage.grants import RIGHTS, grant_rights
from storage.island import Island
from storage.stores import open_storage
from tests.cast import FAR_MS, alice, alice_phone, bob, bob_phone, open_conversation, settle
from tests.postgres import url_of
from tests.storage.conftest import Connect
from tests.storage.postgres.test_statements import use_everything
from tests.store_contracts.messages import draft, send


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[Stores]:
    """A bag in which each store is that of the program that has it."""
    async with AsyncExitStack() as stack:
        relay, api, worker = [
            await stack.enter_async_context(
                open_storage(StorageSettings(database=DatabaseUrl(url_of(user, database_url)), pool_min=1, pool_max=2))
            )
            for user in RIGHTS
        ]
        yield structs.replace(
            api,
            journal=relay.journal,
            mailbox=relay.mailbox,
            nodes=relay.nodes,
            retention=worker.retention,
            leases=worker.leases,
            transparency=worker.transparency,
        )


async def test_each_program_can_do_its_work(stores: Stores) -> None:
    """Every statement of every store, as the user of the program whose store it is."""
    await use_everything(stores)


async def test_a_worker_ends_what_is_over(connect: Connect, island: Island, database_url: str) -> None:
    """A device that was for a time only leaves its rooms, with what waited for it there."""
    beside = await connect(database_url)
    ours, theirs = [
        StorageSettings(database=DatabaseUrl(url_of(user, database_url)), pool_min=1, pool_max=1)
        for user in ("varde_api", "varde_worker")
    ]
    async with open_storage(ours) as api, open_storage(theirs) as worker:
        await settle(api, alice, bob)
        room = await open_conversation(api, alice, bob)
        await send(api, draft(alice_phone, room))
        over = "UPDATE device SET valid_until_ms = 1 WHERE device_id = $1"
        await island.run(beside.execute, over, bob_phone.id)
        expired = await worker.devices.expire(FAR_MS, 10)
    assert expired.devices == (bob_phone.id,)
    assert [move.conversation for move in expired.moves] == [room]


@pytest.mark.parametrize("user", RIGHTS)
async def test_each_program_may_begin_an_epoch(connect: Connect, island: Island, database_url: str, user: str) -> None:
    """Whichever notices first that the database was promoted or put back; nobody would serve before that."""
    beside = await connect(database_url)
    async with open_storage(StorageSettings(database=DatabaseUrl(database_url), pool_min=1, pool_max=1)):
        await island.run(beside.execute, "UPDATE store_epoch SET timeline = timeline + 1")
    theirs = StorageSettings(database=DatabaseUrl(url_of(user, database_url)), pool_min=1, pool_max=1)
    async with open_storage(theirs) as stores:
        assert len(stores.epochs.known) == 2


NOBODYS = {"attachment", "space"}
"""Tables that no statement names yet."""
REFUSED = [
    ("varde_relay", "SELECT FROM address_account"),
    ("varde_relay", "SELECT code_digest FROM one_time_code"),
    ("varde_relay", "SELECT access_digest FROM session"),
    ("varde_relay", "SELECT statement FROM device_list"),
    ("varde_relay", "SELECT identity_key FROM device"),
    ("varde_relay", "UPDATE device SET profiles = '{}'"),
    ("varde_relay", "DELETE FROM revocation"),
    ("varde_relay", "INSERT INTO membership SELECT FROM membership"),
    ("varde_relay", "UPDATE membership SET role = 'owner'"),
    ("varde_relay", "SELECT FROM log_checkpoint"),
    ("varde_api", "SELECT sealed FROM cipher"),
    ("varde_api", "UPDATE cipher SET sealed = ''"),
    ("varde_api", "UPDATE message SET sent_ms = 0"),
    ("varde_api", "INSERT INTO log_checkpoint SELECT FROM log_checkpoint"),
    ("varde_api", "UPDATE log_tile SET hashes = ''"),
    ("varde_api", "DELETE FROM device_list"),
    ("varde_api", "UPDATE device_list SET statement = ''"),
    ("varde_api", "SELECT FROM relay_node"),
    ("varde_api", "SELECT actor FROM audit_entry"),
    ("varde_worker", "SELECT sealed FROM cipher"),
    ("varde_worker", "SELECT code_digest FROM one_time_code"),
    ("varde_worker", "SELECT refresh_digest FROM session"),
    ("varde_worker", "SELECT FROM address_account"),
    ("varde_worker", "INSERT INTO message SELECT FROM message"),
    ("varde_worker", "INSERT INTO device_list SELECT FROM device_list"),
    *((user, "INSERT INTO audit_entry SELECT FROM audit_entry") for user in RIGHTS),
    *((user, "CREATE TABLE mine ()") for user in RIGHTS),
    *((user, "DROP TABLE message") for user in RIGHTS),
    *((user, "UPDATE schema_migration SET needs = 0") for user in RIGHTS),
    *((user, f"SET ROLE {other}") for user in RIGHTS for other in RIGHTS if other != user),
    *((user, "SET ROLE varde") for user in RIGHTS),
]


async def test_what_a_program_does_not_need_it_is_refused(connect: Connect, island: Island, database_url: str) -> None:
    """A relay that was broken into learns no address and signs nobody in; an API reads no message."""
    connections = {user: await connect(url_of(user, database_url)) for user in RIGHTS}
    allowed = []
    for user, statement in REFUSED:
        try:
            await island.run(connections[user].execute, statement)
        except asyncpg.InsufficientPrivilegeError:
            continue
        allowed.append((user, statement))
    assert not allowed


async def test_a_right_that_is_no_longer_needed_is_taken_away(
    connect: Connect, island: Island, database_url: str
) -> None:
    """Whoever migrates says what each may do, whatever was granted before by hand or by an older version."""
    beside, relay = await connect(database_url), await connect(url_of("varde_relay", database_url))
    await island.run(beside.execute, "GRANT SELECT ON session TO varde_relay")
    await island.run(relay.fetch, "SELECT FROM session")
    assert await island.run(grant_rights, beside) == tuple(sorted(RIGHTS))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await island.run(relay.fetch, "SELECT FROM session")
    await island.run(relay.fetch, "SELECT FROM message")


async def test_every_table_is_some_programs(connect: Connect, island: Island, database_url: str) -> None:
    """Whoever adds a table says here who needs it, before a program is refused where people are served."""
    beside = await connect(database_url)
    tables = await island.run(beside.fetch, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    granted = {
        each.partition("(")[0]
        for parts in RIGHTS.values()
        for rights in parts
        for names in rights.values()
        for each in names
    }
    assert {row["tablename"] for row in tables} == granted | NOBODYS
