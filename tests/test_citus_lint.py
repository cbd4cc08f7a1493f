"""The linter of the Citus path finds what is planted, and nothing in what is right."""

from pathlib import Path

import pytest

from tests.citus_lint import EXCEPTIONS, JOIN, Finding, lint, main, read_statements

TABLES = {"person": "person_id", "letter": "person_id", "place": "place_id", "clock": "local"}
SCHEMA = """
    CREATE TABLE person (person_id int PRIMARY KEY);
    CREATE TABLE letter (person_id int REFERENCES person, number int, PRIMARY KEY (person_id, number));
    CREATE TABLE place (place_id int PRIMARY KEY);
    CREATE TABLE clock (one int PRIMARY KEY);
"""


def found(*, migrations: str = "", statement: str = "SELECT 1") -> set[tuple[str, str]]:
    """Where and in which table."""
    findings: list[Finding] = list(lint([SCHEMA, migrations], {"here": [statement]}, TABLES))
    return {(each.where, each.table) for each in findings}


def test_what_is_there_has_no_more_than_its_exceptions(capsys: pytest.CaptureFixture[str]) -> None:
    """The same as in `make check`."""
    assert main() == 0, capsys.readouterr().out
    assert all(EXCEPTIONS.values())


@pytest.mark.parametrize(
    ("migrations", "table"),
    [
        ("CREATE TABLE forgotten (x int)", "forgotten"),
        ("ALTER TABLE letter ADD UNIQUE (number)", "letter"),
        ("CREATE UNIQUE INDEX one ON letter (number)", "letter"),
        ("ALTER TABLE letter ADD COLUMN place_id int REFERENCES place", "letter"),
        ("ALTER TABLE letter ADD COLUMN other int REFERENCES person", "letter"),
    ],
)
def test_keys_that_cannot_be_kept(migrations: str, table: str) -> None:
    """A key over all nodes, and a foreign key to another node."""
    assert found(migrations=migrations) == {("schema", table)}


@pytest.mark.parametrize("migrations", ["DROP INDEX one", "ALTER TABLE letter DROP COLUMN number", "DROP TABLE letter"])
def test_what_is_dropped_is_not_judged(migrations: str) -> None:
    """Only what there is after all migrations counts."""
    before = "CREATE UNIQUE INDEX one ON letter (number);"
    assert found(migrations=before + migrations) == set()


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("SELECT number FROM letter WHERE number = $1", "letter"),
        ("DELETE FROM letter WHERE number IN (1, 2)", "letter"),
        ("UPDATE letter SET number = 1", "letter"),
        ("INSERT INTO letter (number) VALUES ($1)", "letter"),
        ("SELECT 1 WHERE EXISTS (SELECT FROM letter WHERE person_id > $1)", "letter"),
        ("SELECT 1 FROM person JOIN letter USING (person_id)", JOIN),
        ("SELECT 1 FROM person JOIN place ON person_id = place_id", JOIN),
    ],
)
def test_statements_that_ask_every_node(statement: str, table: str) -> None:
    """Also within others."""
    assert found(statement=statement) == {("here", table)}
    body = f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {statement}; END $$"
    # plpgsql has no parameters by number, and asks no less.
    assert found(migrations=body.replace("$1", "1").replace("BEGIN SELECT", "BEGIN PERFORM")) == {("f", table)}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT number FROM letter WHERE person_id = ANY ($1)",
        "SELECT number FROM letter AS mine WHERE mine.person_id BETWEEN $1 AND $1",
        "SELECT 1 FROM unnest($1::int[]) AS a (person_id) JOIN person USING (person_id) JOIN letter USING (person_id)",
        "SELECT (SELECT 1 FROM letter WHERE letter.person_id = person.person_id) FROM person WHERE person_id = 1",
        "WITH letter AS (SELECT 1) SELECT * FROM letter",
        "INSERT INTO letter (person_id, number) VALUES ($1, $2)",
        "SELECT one FROM clock",
    ],
)
def test_statements_that_ask_one_node(statement: str) -> None:
    """By a value, by an array, and by the row of the query around."""
    assert found(statement=statement) == set()


def test_statements_are_found_where_they_are(tmp_path: Path) -> None:
    """By the name that they are given, or the function; what is put together is told by its tables."""
    module = 'A: Final = "SELECT 1"\nasync def f():\n    await g(f"DELETE FROM letter WHERE {x}")\n'
    (tmp_path / "store.py").write_text(module, encoding="utf-8")
    assert read_statements(tmp_path) == {"store.A": ["SELECT 1"], "store.f": ["TABLE letter"]}
