"""A database that has lost what was committed begins a new epoch, and says what every conversation has kept."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import trio

from domain.ports import Stores, StoreUnavailable
from domain.talk.model import EpochHead
from settings.storage import DatabaseUrl, StorageSettings
from storage.database import Connection
from storage.embedded.cluster import PORT, program
from storage.embedded.os_user import owner_of
from storage.embedded.server import open_embedded_postgres
from storage.island import Island, open_island
from storage.migrate import migrate
from storage.stores import open_storage
from tests.cast import ONE_TIME_KEYS, alice, alice_phone, bob, open_conversation, settle
from tests.store_contracts.messages import draft
from varde_contract.ids import ConversationId

pytestmark = pytest.mark.timeout(300)


@asynccontextmanager
async def opened(folder: Path, mark: Path | None) -> AsyncIterator[Stores]:
    """Run the cluster in a folder, with the schema in it, and open the stores."""
    async with open_embedded_postgres(folder) as url:
        async with open_island() as island:
            connection = await island.run(asyncpg.connect, url)
            if not await island.run(connection.fetchval, "SELECT pg_is_in_recovery()"):
                await island.run(migrate, connection)
            await island.run(connection.close)
        async with open_storage(
            StorageSettings(database=DatabaseUrl(url), pool_min=1, pool_max=2), mark=mark
        ) as stores:
            yield stores


async def say(stores: Stores, conversation: ConversationId, count: int) -> int:
    """Commit so many messages; return the number of the last."""
    version = (await stores.conversations.log_heads([conversation]))[conversation].roster_version
    drafts = [draft(alice_phone, conversation, version=version) for _ in range(count)]
    outcomes = [(await stores.journal.commit([each]))[0] for each in drafts]
    return max(getattr(outcome, "seq", 0) for outcome in outcomes)


def copy(source: Path, target: Path) -> None:
    """Copy a cluster that does not run, with its owner."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


async def test_files_that_were_put_back_are_a_new_epoch(short_path: Path, tmp_path: Path) -> None:
    """After a restore from an earlier copy, acks for numbers that somebody has would be lies: the epoch says so."""
    mark = tmp_path / "relay.mark"
    async with opened(short_path, mark) as stores:
        await settle(stores, alice, bob)
        talk = await open_conversation(stores, alice, bob)
        assert await say(stores, talk, 2) == 2
        (first,) = stores.epochs.known
        await stores.epochs.look()
        assert await stores.prekeys.count(alice.account, alice_phone.id) == (ONE_TIME_KEYS, True)
    copy(short_path / "cluster", short_path / "backup")
    async with opened(short_path, mark) as stores:
        assert list(stores.epochs.known) == [first]  # a restart is no loss
        assert await say(stores, talk, 3) == 5
        await stores.epochs.look()
    copy(short_path / "backup", short_path / "cluster")
    for _ in range(2):  # and that one was restored is known from then on
        async with opened(short_path, mark) as stores:
            second, earlier = stores.epochs.known
            assert earlier == first != second
            assert await stores.epochs.heads([talk]) == {talk: [EpochHead(second, 2), EpochHead(first, 0)]}
            # No version of a roster that was lost is given out again, whatever was in it.
            log_head = (await stores.conversations.log_heads([talk]))[talk]
            assert log_head.roster_version == second.int >> 80
            # What came back may have been claimed since, and then nobody can open what is encrypted for it.
            assert await stores.prekeys.count(alice.account, alice_phone.id) == (0, True)
    async with opened(short_path, mark) as stores:
        assert await say(stores, talk, 1) == 3
        await stores.epochs.look()
    # The same backup once more: the epoch that was begun after the first restore is not known there.
    copy(short_path / "backup", short_path / "cluster")
    async with opened(short_path, mark) as stores:
        third, _ = stores.epochs.known
        assert third not in {first, second}


async def test_a_promoted_standby_is_a_new_epoch(short_path: Path, tmp_path: Path) -> None:
    """An asynchronous standby lacks the last commits. Its timeline says that it was promoted, even without a mark."""
    primary, standby = short_path / "p", short_path / "s"
    primary.mkdir()
    standby.mkdir()
    async with opened(primary, None) as stores:
        await settle(stores, alice, bob)
        talk = await open_conversation(stores, alice, bob)
        await say(stores, talk, 2)
        (first,) = stores.epochs.known
        await trio.to_thread.run_sync(follow, primary / "cluster", standby)
        assert await say(stores, talk, 2) == 4
    async with open_embedded_postgres(standby) as url, open_island() as island:
        connection = await island.run(asyncpg.connect, url)
        assert await island.run(connection.fetchval, "SELECT pg_promote()")
        await island.run(connection.close)
        async with open_storage(StorageSettings(database=DatabaseUrl(url), pool_min=1, pool_max=2)) as stores:
            second, earlier = stores.epochs.known
            assert earlier == first != second
            assert await stores.epochs.heads([talk]) == {talk: [EpochHead(second, 2), EpochHead(first, 0)]}
            assert await say(stores, talk, 1) == 3


def follow(primary: Path, standby: Path) -> None:
    """Make a standby of a running primary, as of now."""
    user = owner_of(primary)
    user.give(standby)
    # Not a spread checkpoint, which takes half a minute lest it disturb anybody.
    command = [
        program("pg_basebackup"),
        "-h",
        str(primary),
        "-p",
        str(PORT),
        "-U",
        "varde",
        "-R",
        "-X",
        "stream",
        "-c",
        "fast",
    ]
    subprocess.run([*command, "-D", str(standby / "cluster")], check=True, cwd="/", **user.for_subprocess())
    (standby / "cluster").chmod(0o700)


async def test_a_database_that_changes_behind_a_connection_is_noticed(short_path: Path, tmp_path: Path) -> None:
    """A program that goes on over a restart of Postgres looks at the new connection before it writes."""
    mark = tmp_path / "relay.mark"
    async with opened(short_path, mark) as stores:
        await settle(stores, alice, bob)
        talk = await open_conversation(stores, alice, bob)
    copy(short_path / "cluster", short_path / "backup")
    async with open_island(), trio.open_nursery():
        running = open_embedded_postgres(short_path)
        url = await running.__aenter__()
        async with open_storage(
            StorageSettings(database=DatabaseUrl(url), pool_min=1, pool_max=2), mark=mark
        ) as stores:
            (first,) = stores.epochs.known
            assert await say(stores, talk, 4) == 4
            await stores.epochs.look()
            await running.__aexit__(None, None, None)
            copy(short_path / "backup", short_path / "cluster")
            async with open_embedded_postgres(short_path):
                assert await say_again(stores, talk) == 1
                assert len(stores.epochs.known) == 2
                assert stores.epochs.known[1] == first


async def say_again(stores: Stores, conversation: ConversationId) -> int:
    """Commit a message as soon as the database answers."""
    while True:
        try:
            # 0: the roster was that of before, and moved with the epoch.
            if seq := await say(stores, conversation, 1):
                return seq
        except StoreUnavailable:
            await trio.sleep(0.1)  # between two questions to a database that is not up yet


async def test_an_epoch_begins_however_long_it_takes(stores: Stores, island: Island, beside: Connection) -> None:
    """Who waits for a connection gives up before half a million conversations are written; the next one waits on.

    Begun within the wait, it was undone with each that gave up, and nobody could write any more.
    """
    known = list(stores.epochs.known)
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE store_epoch%'"
    await island.run(beside.execute, "UPDATE store_epoch SET timeline = timeline + 7")  # as if this were a standby
    await island.run(beside.execute, "BEGIN")
    await island.run(beside.execute, "LOCK TABLE store_epoch IN SHARE MODE")
    begun_by = set()
    for _ in range(2):
        with trio.move_on_after(0.5):
            await stores.epochs.look()
            pytest.fail("it cannot be over yet")
        begun_by.add(await island.run(beside.fetchval, waiting))
    assert len(begun_by) == 1
    assert None not in begun_by
    await island.run(beside.execute, "COMMIT")
    await stores.epochs.look()
    newest, *earlier = stores.epochs.known
    assert earlier == known
    assert newest not in known
