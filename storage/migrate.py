"""The schema's history: plain SQL files, applied in order, each once, in a transaction of its own.

It refuses to guess: a file changed after it was applied, or a newer database that this program does not fit, stops
everything. A newer one that it does fit is what an old program meets in the middle of a rolling upgrade
(docs/operations/upgrade.md).
No SQL but that of its own table stands here; the schema itself is in `migrations/`.

The functions run on the asyncio island.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from storage.database import Connection, PoolOrConnection

FOLDER: Final = Path(__file__).parent / "migrations"
OLDEST_SERVER: Final = 15  # migration 0010 needs UNIQUE NULLS NOT DISTINCT; Debian 12 has it
LOCK: Final = 0x56617264_65  # "Varde"; any number will do that nobody else takes in the same database
DEADLINE: Final = 3600.0  # seconds for one file, or for another migrator's; rewriting a large table takes its time

_FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_NEEDS: Final = re.compile(r"\A-- Needs programs of schema (\d{4}) or newer\.")
_FIRST_EXPANDING: Final = 18
"""Migrations before this one were made before there was a release: programs without them do not work with them."""
_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS schema_migration (
        version    integer PRIMARY KEY,
        name       text NOT NULL,
        sha256     text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    );
    ALTER TABLE schema_migration ADD COLUMN IF NOT EXISTS needs integer
"""
_HISTORY: Final = """
    SELECT version, name, sha256, coalesce((to_jsonb(m) ->> 'needs')::integer, version) AS needs
    FROM schema_migration m ORDER BY version
"""
"""By way of JSON, because the column came later: a row without it is of a time when no older program fitted."""


class SchemaError(Exception):
    """The files and the database do not fit together; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `NNNN_name.sql`."""

    version: int
    name: str
    sha256: str  # of the file's bytes, in hex
    sql: str
    needs: int
    """The oldest schema whose programs still work once this is applied."""

    def __str__(self) -> str:
        return f"{self.version:04}_{self.name}"


def read_migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """The files of `folder` in order.

    Raises:
        SchemaError: a name is not of the form `NNNN_name.sql`, or a number is missing or there twice.
    """
    migrations = tuple(_read(path) for path in sorted(folder.glob("*.sql")))
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            raise SchemaError(f"{folder}: {expected:04} should come next, but {migration} does; renumber the files")
    return migrations


def _read(path: Path) -> Migration:
    match = _FILE_NAME.fullmatch(path.name)
    if match is None:
        raise SchemaError(f"{path}: name it like 0001_accounts.sql (digits, lower-case letters, underscores)")
    content, version = path.read_bytes(), int(match[1])
    said = _NEEDS.match(content.decode())
    needs = int(said[1]) if said else version if version < _FIRST_EXPANDING else 0
    return Migration(version, match[2], hashlib.sha256(content).hexdigest(), content.decode(), needs)


async def migrate(database: PoolOrConnection, folder: Path = FOLDER) -> tuple[Migration, ...]:
    """Apply what the database lacks, and return it. Migrators at work at the same time wait for each other.

    Everything before a file that fails stays applied; of the file that fails, nothing.

    Raises:
        SchemaError: the files, the server's version or the database's history forbid it, or a file's SQL failed.
    """
    migrations = read_migrations(folder)
    applied: list[Migration] = []
    async with _connection(database) as connection:
        _refuse_old_server(connection)
        while (migration := await _step(connection, migrations)) is not None:
            applied.append(migration)
    return tuple(applied)


async def require_current(database: PoolOrConnection, folder: Path = FOLDER) -> None:
    """Return when programs with the files of `folder` work on the database; a server asks this before it serves.

    Raises:
        SchemaError: it lacks some (then the text says: run varde migrate), it has more and they need newer programs, or
            its history is another one.
    """
    async with _connection(database) as connection:
        _refuse_old_server(connection)
        await require_fitting(connection, read_migrations(folder))


async def require_fitting(connection: Connection, migrations: Sequence[Migration]) -> None:
    """The same for files that were read before: those on the disk may be a newer version's by now."""
    at = await _version(connection, migrations)
    if at < len(migrations):
        raise SchemaError(f"the database is at {at:04}, this program needs {len(migrations):04}; run: varde migrate")


@asynccontextmanager
async def _connection(database: PoolOrConnection) -> AsyncIterator[Connection]:
    if isinstance(database, asyncpg.Pool):
        async with database.acquire() as connection:
            yield connection
    else:
        yield database


def _refuse_old_server(connection: Connection) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST_SERVER:
        found = f"{version.major}.{version.minor}"
        raise SchemaError(f"this server is PostgreSQL {found}; Varde needs {OLDEST_SERVER} or newer: upgrade it")


async def _step(connection: Connection, migrations: Sequence[Migration]) -> Migration | None:
    """Apply the next file, if there is one, under the lock that every migrator takes.

    The lock belongs to the transaction, not to the session: it is gone with it however it ends, and it holds behind a
    pooler as well. Each file looks again at what is applied, so two migrators may even take turns.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK, timeout=DEADLINE)
        at = await _version(connection, migrations)
        if at >= len(migrations):
            return None
        await _apply(connection, migrations[at])
        return migrations[at]


async def _apply(connection: Connection, migration: Migration) -> None:
    transaction = await connection.fetchval("SELECT pg_current_xact_id()::text")
    try:
        await connection.execute(migration.sql, timeout=DEADLINE)
    except asyncpg.PostgresError as error:  # its first argument only: DETAIL may hold the values of rows
        raise SchemaError(f"{migration} failed, and was undone: {error.args[0]}") from error
    # After a COMMIT of the file the lock would be gone, and the file's first half would stay whatever came after it.
    if await connection.fetchval("SELECT pg_current_xact_id()::text") != transaction:
        raise SchemaError(f"{migration} ends its transaction (BEGIN, COMMIT or ROLLBACK); take that out of the file")
    await connection.execute(_TABLE)
    await connection.execute(
        "INSERT INTO schema_migration (version, name, sha256, needs) VALUES ($1, $2, $3, $4)",
        migration.version,
        migration.name,
        migration.sha256,
        migration.needs,
    )


async def _version(connection: Connection, migrations: Sequence[Migration]) -> int:
    """The number of the last file applied, 0 for none, after checking that the history is ours."""
    if await connection.fetchval("SELECT to_regclass('schema_migration')") is None:
        return 0
    rows = await connection.fetch(_HISTORY)
    for row, migration in zip(rows, migrations, strict=False):
        if (row["version"], row["name"], row["sha256"]) != (migration.version, migration.name, migration.sha256):
            raise SchemaError(
                f"{migration} is not the file that was applied as {row['version']:04}_{row['name']}: "
                "put the old file back, and make the change in a new one"
            )
    needs = max((row["needs"] for row in rows[len(migrations) :]), default=0)
    if needs > len(migrations):
        raise SchemaError(
            f"the database is at {len(rows):04}, and needs programs of schema {needs:04} or newer, "
            f"newer than this program: install a newer Varde"
        )
    return len(rows)
