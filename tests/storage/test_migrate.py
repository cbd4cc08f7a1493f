"""What the migrations promise: in order, once, whole, and never over a history that is not ours."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest
import trio

from storage.database import Connection
from storage.island import Island
from storage.migrate import Migration, SchemaError, migrate, read_migrations, require_current
from tests.storage.conftest import Connect

ONE = ("0001_people.sql", "CREATE TABLE person (name text); INSERT INTO person VALUES ('alice');")
TWO = ("0002_more_people.sql", "INSERT INTO person VALUES ('bob');\n-- two statements, one file\nSELECT 1;")
BROKEN = ("0002_broken.sql", "INSERT INTO person VALUES ('bob'); SELECT nonsense;")


@pytest.fixture
async def connection(connect: Connect, bare_database_url: str) -> Connection:
    """A connection to a database with nothing in it."""
    return await connect(bare_database_url)


def write(folder: Path, *files: tuple[str, str]) -> Path:
    """Put the files into the folder, in place of those that were there."""
    for path in folder.glob("*.sql"):
        path.unlink()
    for name, sql in files:
        (folder / name).write_text(sql)
    return folder


async def people(island: Island, connection: Connection) -> Sequence[str]:
    """The rows that the migrations have left."""
    rows = await island.run(connection.fetch, "SELECT name FROM person ORDER BY name")
    return [row["name"] for row in rows]


async def test_files_are_applied_in_order_and_once(island: Island, connection: Connection, tmp_path: Path) -> None:
    """Each file is applied once, and `migrate` says which it was."""
    folder = write(tmp_path, ONE)
    assert [str(done) for done in await island.run(migrate, connection, folder)] == ["0001_people"]
    write(folder, ONE, TWO)
    assert [str(done) for done in await island.run(migrate, connection, folder)] == ["0002_more_people"]
    assert await island.run(migrate, connection, folder) == ()
    assert await people(island, connection) == ["alice", "bob"]


async def test_the_history_is_recorded(island: Island, connection: Connection, tmp_path: Path) -> None:
    """`schema_migration` names what was applied, with the hash of the file's bytes and the time."""
    folder = write(tmp_path, ONE, TWO)
    await island.run(migrate, connection, folder)
    rows = await island.run(
        connection.fetch, "SELECT version, name, sha256, applied_at <= now() AS past FROM schema_migration ORDER BY 1"
    )
    first, second = read_migrations(folder)
    assert [tuple(row) for row in rows] == [(1, "people", first.sha256, True), (2, "more_people", second.sha256, True)]


async def test_a_pool_serves_as_well_as_a_connection(island: Island, bare_database_url: str, tmp_path: Path) -> None:
    """A program that holds a pool hands over the pool."""
    folder = write(tmp_path, ONE)

    async def with_pool() -> tuple[Migration, ...]:
        async with asyncpg.create_pool(bare_database_url, min_size=1, max_size=1) as pool:
            done = await migrate(pool, folder)
            await require_current(pool, folder)
            return done

    assert len(await island.run(with_pool)) == 1


async def test_a_failing_file_leaves_nothing_behind(island: Island, connection: Connection, tmp_path: Path) -> None:
    """Of a file that fails nothing stays, of those before it everything; mended, it can be applied."""
    folder = write(tmp_path, ONE, BROKEN)
    with pytest.raises(SchemaError, match=r"0002_broken failed, and was undone: .*nonsense"):
        await island.run(migrate, connection, folder)
    assert await people(island, connection) == ["alice"]
    write(folder, ONE, TWO)
    await island.run(migrate, connection, folder)
    assert await people(island, connection) == ["alice", "bob"]


async def test_the_error_of_a_failing_file_shows_no_row(island: Island, connection: Connection, tmp_path: Path) -> None:
    """DETAIL, where Postgres puts the values of a row, stays out of the error."""
    secret = "CREATE TABLE t (k text PRIMARY KEY); INSERT INTO t VALUES ('c4nary'); INSERT INTO t VALUES ('c4nary');"
    with pytest.raises(SchemaError, match="duplicate key") as caught:
        await island.run(migrate, connection, write(tmp_path, ("0001_secret.sql", secret)))
    assert "c4nary" not in str(caught.value)


async def test_a_changed_file_is_refused(island: Island, connection: Connection, tmp_path: Path) -> None:
    """A file that was applied may not change afterwards, neither in content nor in name; nothing else is applied."""
    folder = write(tmp_path, ONE)
    await island.run(migrate, connection, folder)
    for changed in ((ONE[0], ONE[1] + " "), ("0001_persons.sql", ONE[1])):
        write(folder, changed, TWO)
        for ask in (migrate, require_current):
            with pytest.raises(SchemaError, match=r"0001.* is not the file that was applied as 0001_people.*new one"):
                await island.run(ask, connection, folder)
    assert await people(island, connection) == ["alice"]


async def test_a_database_newer_than_the_program_is_refused(
    island: Island, connection: Connection, tmp_path: Path
) -> None:
    """An old program does not work on a schema that needs newer ones."""
    await island.run(migrate, connection, write(tmp_path, ONE, TWO))
    write(tmp_path, ONE)
    for ask in (migrate, require_current):
        with pytest.raises(SchemaError, match="at 0002, and needs programs of schema 0002 or newer"):
            await island.run(ask, connection, tmp_path)


async def test_an_old_program_works_on_what_was_only_expanded(
    island: Island, connection: Connection, tmp_path: Path
) -> None:
    """A migration that says that older programs still work lets them start and migrate, until one says otherwise."""
    wider = (TWO[0], f"-- Needs programs of schema 0001 or newer.\n{TWO[1]}")
    await island.run(migrate, connection, write(tmp_path, ONE, wider))
    write(tmp_path, ONE)
    await island.run(require_current, connection, tmp_path)
    assert await island.run(migrate, connection, tmp_path) == ()
    await island.run(migrate, connection, write(tmp_path, ONE, wider, ("0003_narrower.sql", "SELECT 1")))
    for files in ((ONE,), (ONE, wider)):
        with pytest.raises(SchemaError, match="at 0003, and needs programs of schema 0003 or newer"):
            await island.run(require_current, connection, write(tmp_path, *files))


async def test_a_server_is_told_to_migrate_first(island: Island, connection: Connection, tmp_path: Path) -> None:
    """A program that finds the database behind says so, and with which command it is brought forward."""
    folder = write(tmp_path, ONE, TWO)
    with pytest.raises(SchemaError, match="at 0000, this program needs 0002; run: varde migrate"):
        await island.run(require_current, connection, folder)
    await island.run(migrate, connection, folder)
    await island.run(require_current, connection, folder)


async def test_a_file_that_commits_is_refused(island: Island, connection: Connection, tmp_path: Path) -> None:
    """A file that ends its own transaction would take the lock and the undoing with it."""
    folder = write(tmp_path, ("0001_commits.sql", "CREATE TABLE person (name text); COMMIT; BEGIN;"))
    with pytest.raises(SchemaError, match="0001_commits ends its transaction"):
        await island.run(migrate, connection, folder)
    assert await island.run(connection.fetchval, "SELECT to_regclass('schema_migration')") is None


async def test_an_old_server_is_refused(island: Island, connection: Connection, tmp_path: Path) -> None:
    """PostgreSQL 14 is refused by name, before anything is applied."""
    folder = write(tmp_path, ONE)
    connection._server_version = asyncpg.types.ServerVersion(14, 9, 0, "final", 0)  # type: ignore[union-attr]  # ours
    for ask in (migrate, require_current):
        with pytest.raises(SchemaError, match=r"PostgreSQL 14\.9; Varde needs 15"):
            await island.run(ask, connection, folder)
    assert await island.run(connection.fetchval, "SELECT to_regclass('person')") is None


@pytest.mark.parametrize(
    "names",
    [
        ["0002_late.sql"],
        ["0001_one.sql", "0003_three.sql"],
        ["0001_one.sql", "0001_other.sql"],
        ["1_short.sql"],
        ["0001_Upper.sql"],
        ["0001.sql"],
        ["notes.sql"],
    ],
)
def test_files_out_of_order_are_refused(tmp_path: Path, names: list[str]) -> None:
    """A hole, a number used twice or a name of another form is the developer's error, and found at once."""
    with pytest.raises(SchemaError, match=r"renumber|name it like"):
        read_migrations(write(tmp_path, *((name, "SELECT 1") for name in names)))


async def test_a_second_migrator_waits_for_the_first(
    island: Island, connect: Connect, bare_database_url: str, tmp_path: Path
) -> None:
    """While one migrator is at work another waits, sees what was done, and does the rest: each file is applied once."""
    gate, first, second = [await connect(bare_database_url) for _ in range(3)]
    gated = ("0001_people.sql", f"SELECT pg_advisory_xact_lock(1); {ONE[1]}")
    folder = write(tmp_path, gated, TWO)
    done: list[tuple[Migration, ...]] = []

    async def run(connection: Connection) -> None:
        done.append(await island.run(migrate, connection, folder))

    await island.run(gate.execute, "SELECT pg_advisory_lock(1)")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, first)
        nursery.start_soon(run, second)
        while await island.run(gate.fetchval, WAITING) < 2:
            await trio.lowlevel.checkpoint()
        assert done == []
        await island.run(gate.execute, "SELECT pg_advisory_unlock(1)")
    assert sorted(migration.version for each in done for migration in each) == [1, 2]
    assert await people(island, gate) == ["alice", "bob"]


WAITING = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""

MIGRATOR = """
import asyncio, pathlib, sys, asyncpg
from storage.migrate import migrate
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    for migration in await migrate(connection, pathlib.Path(sys.argv[2])):
        print(migration)
    await connection.close()
asyncio.run(main())
"""


def test_processes_that_migrate_at_once_apply_each_file_once(bare_database_url: str, tmp_path: Path) -> None:
    """Two programs started together on an empty database share twenty files between them; neither fails."""
    more = [(f"{number:04}_row.sql", ONE[1].partition(";")[2]) for number in range(2, 21)]
    command = (sys.executable, "-c", MIGRATOR, bare_database_url, str(write(tmp_path, ONE, *more)))
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sorted(said[0] + said[1]) == [Path(name).stem for name, _ in (ONE, *more)]


def test_the_command_says_what_it_did(bare_database_url: str) -> None:
    """`python -m storage migrate` ends with the version, and a second run changes nothing."""
    environ = os.environ | {"VARDE_DATABASE_URL": bare_database_url}
    command = (sys.executable, "-m", "storage", "migrate")
    said = [subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout for _ in range(2)]
    files = read_migrations()
    assert said[0].splitlines()[: len(files)] == [f"applied {migration}" for migration in files]
    granted = "granted to varde_api, varde_relay, varde_worker what each needs"
    assert said[1].splitlines() == [granted, f"the database is at {len(files):04}; there was nothing to do"]
