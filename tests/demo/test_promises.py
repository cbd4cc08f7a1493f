"""The parts of the demo: promises and their report, the codes in mails, the search for words in every encoding."""

import base64
import io
import json
import os
from email.message import EmailMessage
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from demo.chapters.database_search import Search
from demo.people import wait_code
from demo.promises import BrokenPromise, Promise, Transcript, expect, write_report

WORD = "Hi Bob, it is Alice."


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("raw", WORD.encode()),
        ("hex", WORD.encode().hex().encode()),
        ("HEX", WORD.encode().hex().upper().encode()),
        ("UTF-16", WORD.encode("utf-16-le")),
    ],
)
def test_a_word_is_found_in_every_form(form: str, written: bytes) -> None:
    """Whoever wrote it down in another way has still written it down."""
    (found,) = Search([WORD.encode()]).in_bytes("there", b"\x00before" + written + b"after\xff")
    assert (found.place, found.word, found.form) == ("there", WORD, form)


@given(st.binary(max_size=20), st.binary(max_size=20), st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]))
def test_a_word_is_found_in_base64_wherever_it_begins(before: bytes, after: bytes, encode: object) -> None:
    """Base64 shifts with what stands before: all three ways are known, in both alphabets."""
    assert callable(encode)
    assert Search([b"secret ?>~ words"]).in_bytes("there", encode(before + b"secret ?>~ words" + after))


def test_nothing_is_found_where_nothing_is() -> None:
    """Half a word is no word."""
    assert Search([WORD.encode()]).in_bytes("there", WORD[:-1].encode() + os.urandom(1000)) == []


def test_a_word_across_two_pieces_of_a_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in pieces, and a word may lie on the seam."""
    monkeypatch.setattr("demo.chapters.database_search._CHUNK", 64)
    file = tmp_path / "file"
    for start in range(40, 70):
        file.write_bytes(b"." * start + WORD.encode() + b"." * 100)
        assert Search([WORD.encode()]).in_file(file)


async def test_the_code_is_read_from_the_letter_to_its_reader(tmp_path: Path) -> None:
    """Letters to others are left alone, and each letter is read once."""
    for number, address in enumerate(("bob@x.org", "alice@x.org")):
        mail = EmailMessage()
        mail["To"] = address
        mail.set_content(f"Your code is 12345{number}.")
        (tmp_path / f"{number}.eml").write_bytes(mail.as_bytes())
    seen: set[Path] = set()
    assert await wait_code(tmp_path, "alice@x.org", seen) == "123451"
    assert seen == {tmp_path / "1.eml"}


async def test_promises_are_told_as_they_are_kept() -> None:
    """A tick, the sentence and the time."""
    out = io.StringIO()
    transcript = Transcript(out, colour=False, progress_bar=False)
    transcript.begin_chapter("One")
    async with transcript.promise("it works"):
        pass
    assert out.getvalue() == "\nOne\n  ✓ it works (0.0 s)\n"
    assert [(each.chapter, each.text, each.broken) for each in transcript.promises] == [("One", "it works", None)]


@pytest.mark.parametrize(
    ("error", "expected", "seen"),
    [(BrokenPromise(5, 4), "5", "4"), (ValueError("x"), "no surprise", "ValueError: x")],
)
async def test_a_broken_promise_says_what_was_expected_and_seen(error: Exception, expected: str, seen: str) -> None:
    """Whoever watches learns what was wrong, whatever it was, also from inside a nursery."""
    out = io.StringIO()
    transcript = Transcript(out, colour=False, progress_bar=False)
    with pytest.raises(BrokenPromise):
        async with transcript.promise("it works"), trio.open_nursery():
            raise error
    assert out.getvalue() == f"  ✗ it works (0.0 s)\n      expected: {expected}\n      seen:     {seen}\n"


async def test_a_promise_that_takes_too_long_is_broken(autojump_clock: MockClock) -> None:
    """Nobody waits for ever."""
    transcript = Transcript(io.StringIO(), colour=False, progress_bar=False)
    with pytest.raises(BrokenPromise, match="broken"):
        async with transcript.promise("it ends", within=5):
            await trio.sleep_forever()
    assert transcript.promises[0].broken == ("to be done within 5 s", "still waiting then")


def test_expectations_compare() -> None:
    """Equal is kept, unequal is broken with both sides."""
    expect([1], [1])
    with pytest.raises(BrokenPromise) as caught:
        expect([1], [2])
    assert (caught.value.expected, caught.value.seen) == ([2], [1])


def test_progress_is_a_line_for_every_quarter_without_a_terminal() -> None:
    """A log is not flooded."""
    out = io.StringIO()
    transcript = Transcript(out, colour=False, progress_bar=False)
    for done in range(1, 101):
        transcript.progress(done, 100, "sent")
    assert [line.split()[0] for line in out.getvalue().splitlines()] == ["1", "25", "50", "75", "100"]


def test_the_report_counts_and_names_the_machine(tmp_path: Path) -> None:
    """`build/demo.json` says what was promised, how long it took, and where."""
    path = tmp_path / "build" / "demo.json"
    write_report(path, [Promise("c", "kept", 0.5), Promise("c", "not", 1.0, ("1", "2"))], 1.5)
    report = json.loads(path.read_text())
    assert (report["kept"], report["broken"], report["seconds"]) == (1, 1, 1.5)
    assert [each["text"] for each in report["promises"]] == ["kept", "not"]
    assert report["machine"]["cores"] == os.cpu_count()
