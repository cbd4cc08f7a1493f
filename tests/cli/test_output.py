"""The small pieces of the command line: homes, tables, marks, the screen, lines from a pipe.

Nothing here needs a server or a terminal.
"""

import io
import os
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
from varde.events import Receipt
from varde.store.store import STORE_NAME
from varde_cli.chat.terminal import PROMPT, PipeInput, Screen, open_lines
from varde_cli.chat.view import ReceiptMarks
from varde_cli.names import as_uuid
from varde_cli.options import choose_home
from varde_cli.output import format_time, print_table, printable
from varde_contract.ids import ConversationId, ProfileId

BOB, CAROL = ProfileId(id_of(1)), ProfileId(id_of(2))
ROOM = ConversationId(id_of(9))


class Typed:
    """A keyboard with something on it."""

    def __init__(self, typed: str | None) -> None:
        self.typed = typed

    def read_line(self) -> str:
        """Nobody types here."""
        raise EOFError


def delivered(profile: ProfileId, upto: int) -> Receipt:
    """A delivered receipt."""
    return Receipt(ROOM, profile, upto, read=False)


def read(profile: ProfileId, upto: int) -> Receipt:
    """A read receipt."""
    return Receipt(ROOM, profile, upto, read=True)


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
    """No control character is left, but for the ends of lines and tabs; what can be read stays."""
    shown = printable(text)
    assert all(unicodedata.category(each) not in {"Cc", "Cs", "Zl", "Zp"} or each in "\n\t" for each in shown)
    assert not {unicodedata.bidirectional(each) for each in shown} & {"LRE", "RLE", "LRO", "RLO", "LRI", "RLI", "FSI"}
    assert len(shown) == len(text.replace("\r\n", "\n"))


@pytest.mark.parametrize(("text", "found"), [(str(BOB), BOB), ("bob", None), ("", None)])
def test_ids_and_names_are_told_apart(text: str, found: UUID | None) -> None:
    """What is an id is never taken for a name."""
    assert as_uuid(text) == found


def test_a_mark_is_told_once_for_each_step() -> None:
    """Delivered, then read, each once for each person; nothing about messages of others."""
    receipt_marks = ReceiptMarks()
    assert not receipt_marks.take(delivered(BOB, 1)), "nothing was sent yet"
    receipt_marks.sent(3)
    assert not receipt_marks.take(delivered(BOB, 2)), "an earlier message"
    assert receipt_marks.take(delivered(BOB, 3))
    assert not receipt_marks.take(delivered(BOB, 3))
    assert receipt_marks.take(read(BOB, 4))
    assert not receipt_marks.take(delivered(BOB, 4)), "read is more than delivered"
    assert receipt_marks.take(delivered(CAROL, 3))
    receipt_marks.sent(5)
    assert receipt_marks.take(read(BOB, 5))
    assert receipt_marks.read[BOB] == 5


def test_a_line_comes_above_what_is_being_typed() -> None:
    """Half a line of one's own gives way, and stands again below."""
    out = io.StringIO()
    Screen(out, Typed("half a li"), live=True, colour=False).line("incoming")
    assert out.getvalue() == f"\r\x1b[Jincoming\n{PROMPT}half a li"


def test_what_is_typed_over_several_rows_gives_way_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long line takes more than one row of the terminal; all of them are cleared."""
    monkeypatch.setenv("COLUMNS", "20")
    out = io.StringIO()
    Screen(out, Typed("x" * 50), live=True, colour=False).line("incoming")
    assert out.getvalue() == f"\x1b[2A\r\x1b[Jincoming\n{PROMPT}{'x' * 50}"


def test_without_a_terminal_there_are_only_lines() -> None:
    """A pipe gets what was said and nothing else."""
    out = io.StringIO()
    screen = Screen(out, Typed(None), live=False, colour=False)
    screen.line("one \x1b[2J", bold=True)
    screen.forget_typed("two")
    assert out.getvalue() == "one �[2J\n"


async def test_lines_of_a_pipe_come_whole_and_end_with_it() -> None:
    """However the bytes arrive: lines come out whole, the last one also without an end, and broken text is no end."""
    reading, writing = os.pipe()
    os.write(writing, b"one\r\ntw")
    got: list[str] = []
    async with open_lines(PipeInput(reading)) as lines:
        got.append(await lines.receive())
        os.write(writing, "o\n\n\N{SNOWMAN}".encode() + b"\xff")
        os.close(writing)
        got += [line async for line in lines]
    os.close(reading)
    assert got == ["one", "two", "", "☃�"]


@pytest.mark.parametrize(
    "text", ["👩‍👩‍👧‍👦", "🇳🇴", "❤️", "10\u00a0000", "naïve", "שלום", "a\u200bb", "🏴\U000e0067\U000e0062\U000e007f"]
)
def test_what_people_write_is_shown_as_they_wrote_it(text: str) -> None:
    """Emoji of several characters, flags, spaces that do not break, and every script."""
    assert printable(text) == text


def test_line_breaks_of_other_systems_are_line_breaks() -> None:
    """A lone carriage return is none: it would let what follows overwrite what stands before."""
    assert printable("a\r\nb\rc") == "a\nb�c"
