"""What `python -m storage` says to a person."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from storage.__main__ import main


def run(*words: str, **environ: str) -> Result:
    """Run the command with nothing of the real environment that it reads."""
    nothing: dict[str, str | None] = {"VARDE_DATABASE_URL": None, "VARDE_DATA": None}
    return CliRunner(env={**nothing, **environ}).invoke(main, words)


@pytest.mark.parametrize("words", [["--help"], ["postgres", "--help"], ["migrate", "--help"]])
def test_every_command_has_help(words: list[str]) -> None:
    """Help is there, and ends well."""
    result = run(*words)
    assert result.exit_code == 0
    assert "Usage: " in result.output


def test_the_embedded_postgres_is_not_run_beside_another() -> None:
    """Whoever has named another database does not get the embedded one without asking for it."""
    result = run("postgres", VARDE_DATABASE_URL="postgresql://varde:tops3cret@db.example/varde")
    assert result.exit_code == 2
    assert "--data" in result.output
    assert "tops3cret" not in result.output


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    """An expected failure is said in one line, without a traceback."""
    (tmp_path / "cluster").mkdir()
    result = run("postgres", "--data", str(tmp_path))
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    assert "is not a Postgres cluster" in result.output


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://varde:tops3cret@127.0.0.1:1/varde", "VARDE_DATABASE_URL must begin with postgresql://"),
        ("postgresql://varde:tops3cret@127.0.0.1:1/varde", "the database cannot be reached"),
    ],
)
def test_a_database_that_cannot_be_reached_is_one_line(url: str, said: str) -> None:
    """What is wrong with the database is said without showing its password."""
    result = run("migrate", VARDE_DATABASE_URL=url)
    assert result.exit_code == 1
    assert said in result.output
    assert result.output.count("\n") == 1
    assert "tops3cret" not in result.output
