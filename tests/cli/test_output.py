"""The small pieces of the command line: homes, tables, times, and what a terminal is given to show.

Nothing here needs a server or a terminal.
"""

import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ids import id_of
from varde import KeyFile, Passphrase
from varde.store.store import STORE_NAME
from varde_cli.names import as_uuid
from varde_cli.options import choose_home
from varde_cli.output import format_time, print_table, printable
from varde_contract.ids import ProfileId

BOB = ProfileId(id_of(1))


def test_the_home_is_the_option_then_the_environment_then_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """One order, the same for every command."""
    monkeypatch.setenv("HOME", "/h")
    environ = {"VARDE_HOME": "/env"}
    assert choose_home(environ, Path("/option"), ask=False, fresh=False).folder == Path("/option")
    assert choose_home(environ, None, ask=False, fresh=False).folder == Path("/env")
    assert choose_home({}, None, ask=False, fresh=False).folder == Path("/h/.varde")


def test_a_key_file_opens_the_home_unless_there_is_a_passphrase(tmp_path: Path) -> None:
    """By default nobody is asked; a passphrase in the environment is stronger, and is not shown."""
    assert choose_home({}, tmp_path, ask=False, fresh=True).unlock == KeyFile(tmp_path / "key")
    home = choose_home({"VARDE_PASSPHRASE": "correct horse"}, tmp_path, ask=False, fresh=False)
    assert home.unlock == Passphrase("correct horse")
    assert "horse" not in repr(home)


def test_a_passphrase_is_asked_for_when_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --passphrase it is asked for, twice for a store that is to be made, and the environment is left aside."""
    asked: list[bool] = []

    def ask(_text: str, *, confirmation_prompt: bool, **_options: object) -> str:
        asked.append(confirmation_prompt)
        return "typed"

    monkeypatch.setattr(click, "prompt", ask)
    for fresh in (True, False):
        home = choose_home({"VARDE_PASSPHRASE": "other"}, tmp_path, ask=True, fresh=fresh)
        assert home.unlock == Passphrase("typed")
    (tmp_path / STORE_NAME).touch()
    choose_home({}, tmp_path, ask=True, fresh=True)
    assert asked == [True, False, False]


def test_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns begin where their heading does, and no line ends in spaces."""
    print_table(("A", "LONG", "C"), [("xxx", "y", "z"), ("", "yyyyy", "")])
    lines = [click.unstyle(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == ["A    LONG   C", "xxx  y      z", "     yyyyy"]


def test_today_is_shown_as_a_time_only() -> None:
    """The date is said only where it is another day."""
    now = datetime.now(UTC)
    assert format_time(now) == f"{now.astimezone():%H:%M}"
    assert len(format_time(now - timedelta(days=400))) == len("2026-01-01 00:00")


@given(st.text())
def test_nothing_that_a_stranger_wrote_reaches_the_terminal_as_a_command(text: str) -> None:
    """No control character is left, but for the ends of lines and tabs, and nothing that turns the writing around."""
    shown = printable(text)
    assert all(unicodedata.category(each) not in {"Cc", "Cs", "Zl", "Zp"} or each in "\n\t" for each in shown)
    assert not {unicodedata.bidirectional(each) for each in shown} & {"LRE", "RLE", "LRO", "RLO", "LRI", "RLI", "FSI"}
    assert len(shown) == len(text.replace("\r\n", "\n"))


@pytest.mark.parametrize(("text", "found"), [(str(BOB), BOB), ("bob", None), ("", None)])
def test_ids_and_names_are_told_apart(text: str, found: UUID | None) -> None:
    """What is an id is never taken for a name."""
    assert as_uuid(text) == found


@pytest.mark.parametrize(
    "text", ["👩‍👩‍👧‍👦", "🇳🇴", "❤️", "10\u00a0000", "naïve", "שלום", "a\u200bb", "🏴\U000e0067\U000e0062\U000e007f"]
)
def test_what_people_write_is_shown_as_they_wrote_it(text: str) -> None:
    """Emoji of several characters, flags, spaces that do not break, and every script."""
    assert printable(text) == text


def test_line_breaks_of_other_systems_are_line_breaks() -> None:
    """A lone carriage return is none: it would let what follows overwrite what stands before."""
    assert printable("a\r\nb\rc") == "a\nb�c"
