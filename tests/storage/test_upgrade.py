"""From the schema of each version that the changelog names to the newest, with what people had stored in between."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from storage.database import Connection
from storage.island import Island
from storage.migrate import migrate, read_migrations, require_current
from tests.ids import id_of
from tests.storage.conftest import Connect

CHANGELOG = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
HEADINGS = re.findall(
    r"^## (\d+\.\d+\.\d+) \((?:unreleased|\d{4}-\d\d-\d\d, schema (\d{4}))\)$", CHANGELOG, re.MULTILINE
)
EXPANDING = 17
"""From here on, migrations keep to expand and contract: what an unreleased first version is upgraded from."""
VERSIONS = [(version, int(schema or EXPANDING)) for version, schema in HEADINGS]
"""Each with the number of its last migration: what a database of that version has."""

_SHAPE = """
    SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    ORDER BY 1
"""


async def shape(island: Island, connection: Connection) -> Sequence[str]:
    """Every column, index, constraint and function of a database."""
    return [str(row[0]) for row in await island.run(connection.fetch, _SHAPE)]


def of_version(folder: Path, last: int) -> Path:
    """The migrations that a version came with."""
    folder.mkdir(exist_ok=True)
    for migration in read_migrations()[:last]:
        (folder / f"{migration}.sql").write_text(migration.sql, encoding="utf-8")
    return folder


def test_the_changelog_says_which_schema_a_version_has() -> None:
    """Every version is released with a date and its last migration, `## 0.2.0 (2026-12-24, schema 0023)`, or is not."""
    assert len(HEADINGS) == len(re.findall(r"^## ", CHANGELOG, re.MULTILINE))
    assert all(schema <= len(read_migrations()) for _, schema in VERSIONS)


@pytest.mark.parametrize(("version", "schema"), VERSIONS)
async def test_a_database_of_each_version_becomes_the_newest(
    island: Island,
    connect: Connect,
    bare_database_url: str,
    database_url: str,
    tmp_path: Path,
    version: str,
    schema: int,
) -> None:
    """It has all that a new one has, what was stored is still there, and its own programs may run beside newer ones."""
    connection = await connect(bare_database_url)
    old = of_version(tmp_path / version, schema)
    await island.run(migrate, connection, old)
    await island.run(connection.execute, "INSERT INTO account (account_id, created_ms) VALUES ($1, 1)", id_of(1))
    applied = await island.run(migrate, connection)
    assert [migration.version for migration in applied] == list(range(schema + 1, len(read_migrations()) + 1))
    assert await island.run(connection.fetchval, "SELECT account_id FROM account") == id_of(1)
    assert await shape(island, connection) == await shape(island, await connect(database_url))
    if all(migration.needs <= schema for migration in applied):
        await island.run(require_current, connection, old)
