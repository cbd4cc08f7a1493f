"""The rule of expand and contract: a migration that old programs do not survive says so in its first line."""

import re
from typing import Final

import pytest

from storage.migrate import Migration, read_migrations

BREAKS: Final = re.compile(
    r"\b(DROP\s+(TABLE|COLUMN|FUNCTION|TYPE|VIEW)|RENAME\s|ALTER\s+(COLUMN\s+)?\w+\s+(SET\s+DATA\s+)?TYPE|"
    r"SET\s+NOT\s+NULL|(?<!BEFORE\s)TRUNCATE|ADD\s+CONSTRAINT|ADD\s+COLUMN\s+\w+\s+\w+\s+NOT\s+NULL(?!\s+DEFAULT))",
    re.IGNORECASE,
)
FIRST: Final = 18
"""Those before were made before the rule."""


@pytest.mark.parametrize("migration", read_migrations()[FIRST - 1 :], ids=str)
def test_a_migration_that_narrows_says_who_can_follow(migration: Migration) -> None:
    """What drops, renames or forbids breaks the programs that run beside it: which ones is told to them."""
    code = re.sub(r"--[^\n]*|'[^']*'", "", migration.sql)
    if BREAKS.search(code):
        assert migration.needs, f"begin {migration} with `-- Needs programs of schema NNNN or newer.`: it narrows"
    assert migration.needs <= migration.version


def test_the_rule_sees_what_narrows() -> None:
    """It knows the usual ways, and lets new tables, columns with a default and indexes pass."""
    for sql in (
        "ALTER TABLE a DROP COLUMN b",
        "ALTER TABLE a RENAME TO b",
        "ALTER TABLE a ALTER COLUMN b TYPE bigint",
        "ALTER TABLE a ALTER b SET NOT NULL",
        "ALTER TABLE a ADD COLUMN b integer NOT NULL",
        "TRUNCATE a",
    ):
        assert BREAKS.search(sql)
    for sql in (
        "CREATE TABLE a (b integer NOT NULL)",
        "ALTER TABLE a ADD COLUMN b integer NOT NULL DEFAULT 0",
        "CREATE INDEX ON a (b)",
        "CREATE TRIGGER b BEFORE TRUNCATE ON a EXECUTE FUNCTION c()",
    ):
        assert not BREAKS.search(sql)
