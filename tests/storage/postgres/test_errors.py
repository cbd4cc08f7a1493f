"""What a store says when the database fails it: nothing but StoreUnavailable, in time, and without a value
of anybody.
"""

from functools import partial

import pytest
import trio

from domain.ports import StoreFault, Stores, StoreUnavailable
from domain.retention.model import Swept
from domain.talk import model as talk_model
from settings.storage import DatabaseUrl, StorageSettings
from storage.database import Connection
from storage.island import Island
from storage.postgres.errors import store_errors
from storage.postgres.pool import Timeouts
from storage.stores import open_storage
from tests.cast import BIRTH_MS, alice, alice_phone, bob, open_conversation, remove_member, settle
from tests.store_contracts.messages import draft, send

IMPATIENT = Timeouts(acquire=0.2, statement=0.2)
_CUT = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'varde'"
_LOCK = "SELECT FROM conversation FOR UPDATE"


async def hold(island: Island, beside: Connection, statement: str) -> None:
    """Take locks that nobody gives back before `let_go`."""
    await island.run(beside.execute, "BEGIN")
    await island.run(beside.execute, statement)


async def let_go(island: Island, beside: Connection) -> None:
    """Give them back."""
    await island.run(beside.execute, "ROLLBACK")


async def test_a_database_that_is_not_there_is_unavailable(tmp_path: object) -> None:
    """Opening the storage without a database says so, in the domain's words."""
    nowhere = DatabaseUrl(f"postgresql://varde@/varde?host={tmp_path}&port=5432")
    with pytest.raises(StoreUnavailable):
        async with open_storage(StorageSettings(database=nowhere, pool_min=1, pool_max=1)):
            pytest.fail("it opened")


async def test_a_lost_connection_is_found_again(stores: Stores, island: Island, beside: Connection) -> None:
    """Calls fail while connections are cut, at most once for each of them, and then go on."""
    await settle(stores, alice)
    assert await island.run(beside.fetchval, _CUT) >= 1
    failures = 0
    while failures < 10:
        try:
            assert await stores.accounts.find(alice.account) is not None
            break
        except StoreUnavailable:
            failures += 1
    assert failures <= 4


async def test_connections_to_a_demoted_primary_are_dropped(stores: Stores, island: Island, beside: Connection) -> None:
    """What is read-only by now would refuse every change as long as it lives: the next call has a new connection."""
    name = await island.run(beside.fetchval, "SELECT current_database()")
    await island.run(beside.execute, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await island.run(beside.fetchval, _CUT)
    failures = 0
    for _ in range(10):  # until no connection from before is left
        with pytest.raises(StoreUnavailable):
            await settle(stores, alice)
    await island.run(beside.execute, f"ALTER DATABASE {name} RESET default_transaction_read_only")
    while failures < 10:
        try:
            await settle(stores, alice)
            break
        except StoreUnavailable:
            failures += 1
    assert failures <= 4  # each of the pool's, at the most
    assert await stores.accounts.find(alice.account) is not None


async def test_a_call_that_is_cut_is_unavailable(stores: Stores, island: Island, beside: Connection) -> None:
    """Who waits for the database when the connection dies is told, and nothing is stored."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await hold(island, beside, _LOCK)
    told = []

    async def commit() -> None:
        with pytest.raises(StoreUnavailable) as raised:
            await stores.journal.commit([draft(alice_phone, talk)])
        told.append(raised.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(commit)
        await wait_blocked(island, beside)
        await island.run(beside.execute, _CUT)
    await let_go(island, beside)
    assert len(told) == 1
    assert (await send(stores, draft(alice_phone, talk)))[0].seq == 1


async def wait_blocked(island: Island, beside: Connection) -> None:
    """Return when somebody waits for a lock that this connection holds."""
    waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
    with trio.fail_after(30):
        while not await island.run(beside.fetchval, waiting):
            # Within a transaction, who was there at the first look is all who is ever seen.
            await island.run(beside.execute, "SELECT pg_stat_clear_snapshot()")


async def test_a_statement_has_a_deadline(config: StorageSettings, island: Island, beside: Connection) -> None:
    """A statement that waits too long for somebody else's lock ends, and says so; nothing of it is stored."""
    async with open_storage(config, timeouts=IMPATIENT) as stores:
        await settle(stores, alice, bob)
        talk = await open_conversation(stores, alice, bob)
        await hold(island, beside, _LOCK)
        with pytest.raises(StoreUnavailable):
            await stores.journal.commit([draft(alice_phone, talk)])
        with pytest.raises(StoreUnavailable):
            await remove_member(stores, talk, bob)
        await let_go(island, beside)
        assert (await send(stores, draft(alice_phone, talk)))[0].seq == 1


async def test_waiting_for_a_connection_has_a_deadline(database_url: str, island: Island, beside: Connection) -> None:
    """When all connections of the process are busy for too long, the next call is told so."""
    config = StorageSettings(database=DatabaseUrl(database_url), pool_min=1, pool_max=1)
    async with open_storage(config, timeouts=Timeouts(acquire=0.2)) as stores:
        await settle(stores, alice, bob)
        talk = await open_conversation(stores, alice, bob)
        await hold(island, beside, _LOCK)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(remove_member, stores, talk, bob))
            await wait_blocked(island, beside)
            with pytest.raises(StoreUnavailable):
                await stores.accounts.find(alice.account)
            await let_go(island, beside)


async def test_a_cancelled_call_leaves_its_connection_usable(
    database_url: str, island: Island, beside: Connection
) -> None:
    """Who gives up takes the statement back, and the one connection serves the next call."""
    config = StorageSettings(database=DatabaseUrl(database_url), pool_min=1, pool_max=1)
    async with open_storage(config) as stores:
        await settle(stores, alice, bob)
        talk = await open_conversation(stores, alice, bob)
        await hold(island, beside, _LOCK)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(remove_member, stores, talk, bob))
            await wait_blocked(island, beside)
            nursery.cancel_scope.cancel()
        await let_go(island, beside)
        assert len((await stores.conversations.rosters([talk]))[talk].members) == 2


async def test_a_bug_of_ours_shows_no_value(stores: Stores) -> None:
    """What the database refuses is raised with the name of the rule, and no id, digest or statement."""
    await settle(stores, alice)
    with pytest.raises(StoreFault) as raised:
        await stores.sessions.add(alice_phone.session)
    assert str(raised.value) == "UniqueViolationError session_pkey"
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


async def test_nothing_else_leaves_a_store(caplog: pytest.LogCaptureFixture) -> None:
    """What the driver raises by mistake is a fault as well, noted by its place and not by its text."""
    with pytest.raises(StoreFault, match=r"RuntimeError at test_errors\.py"), store_errors():
        raise RuntimeError("secret")
    assert "RuntimeError at test_errors.py" in caplog.text
    assert "secret" not in caplog.text


async def test_an_argument_of_the_wrong_type_shows_no_value(stores: Stores) -> None:
    """Even a mistake that never reaches the database does not repeat what it was made with."""
    with pytest.raises(StoreFault) as raised:
        await stores.mailbox.confirm([talk_model.Confirmation(alice.account, alice_phone.id, "secret")])  # type: ignore[arg-type]
    assert str(raised.value) == "DataError"


async def test_of_two_sweepers_the_second_does_nothing(stores: Stores, island: Island, beside: Connection) -> None:
    """While somebody sweeps, a sweep returns at once with empty hands."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk))
    await hold(island, beside, "SELECT FROM sweeper FOR UPDATE")
    assert await stores.retention.sweep(BIRTH_MS + 9, retention_ms=1, limit=9) == Swept(0, 0, 0, 0, 0)
    await let_go(island, beside)
    assert (await stores.retention.sweep(BIRTH_MS + 9, retention_ms=1, limit=9)).ciphertexts == 1
