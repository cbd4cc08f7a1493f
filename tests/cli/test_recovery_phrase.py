"""The 24 words: as they are shown, asked back, typed and pasted."""

import os
import random
import sys
from collections.abc import Callable, Iterator

import click
import pytest

import varde
from varde.crypto.root_key import new_phrase, root_key_of
from varde_cli import recovery_phrase
from varde_cli.recovery_phrase import ask_phrase, hand_over_phrase

PHRASE = " ".join(["abandon"] * 23 + ["art"])
WORDS = PHRASE.split()


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A person at a terminal, who types these lines; returns the questions as they come."""

    def sit_down(*lines: str) -> list[str]:
        typed: Iterator[str] = iter(lines)
        asked: list[str] = []

        def prompt(question: str, **_: object) -> str:
            asked.append(question)
            return next(typed)

        monkeypatch.setattr(click, "prompt", prompt)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(recovery_phrase, "is_asked_back", lambda: True)
        monkeypatch.setattr(recovery_phrase, "_wait_until_written", lambda: None)
        monkeypatch.setattr(random.SystemRandom, "sample", lambda *_: [24, 3, 1])
        return asked

    return sit_down


@pytest.mark.parametrize(
    ("width", "columns"), [(200, 6), (100, 6), (80, 4), (60, 4), (45, 3), (30, 2), (20, 1), (3, 1)]
)
def test_words_are_numbered_in_columns_that_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, columns: int
) -> None:
    """No row is wider than the terminal, and the words stand in their order."""
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((width, 24)))
    phrase = new_phrase()
    hand_over_phrase(phrase, ask=False)
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert len(rows) == 24 // columns
    assert all(len(row) <= max(width, 17) for row in rows)
    assert " ".join(" ".join(rows).split()) == " ".join(
        f"{number}. {word}" for number, word in enumerate(phrase.split(), start=1)
    )


def test_three_words_are_asked_back(person: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    """Until they are right; `?` shows all of them again, and nobody minds capitals."""
    asked = person("abandon", "?", "ABANDON", "abandom", "abandon", " Art. ")
    hand_over_phrase(PHRASE, ask=True)
    assert asked == ["Word 1", "Word 3", "Word 3", "Word 24", "Word 24", "Word 24"]
    shown = capsys.readouterr().out
    assert shown.count("24. art") == 2
    assert "That is not word 24" in shown


@pytest.mark.parametrize(
    "typed",
    [
        PHRASE.upper(),
        "\r\n".join(WORDS),
        ", ".join(WORDS),
        "-".join(WORDS),
        "\u00a0".join(WORDS),
        " ".join(f"{number}. {word}" for number, word in enumerate(WORDS, start=1)),
        " ".join(f"{number}) {word}" for number, word in enumerate(WORDS, start=1)),
        "\ufeff" + PHRASE.replace("abandon", "aban\u200bdon"),
        PHRASE.replace("art", "a\u0301rt"),
        PHRASE.replace("abandon", "\uff41bandon", 1),
    ],
)
def test_a_phrase_is_read_as_it_is_pasted(typed: str) -> None:
    """From a table, a letter, or the rows in which it was shown."""
    assert varde.check_phrase(typed) == PHRASE
    assert root_key_of(typed).public_key() == root_key_of(PHRASE).public_key()


@pytest.mark.parametrize(
    ("typed", "told", "advice"),
    [
        (PHRASE.replace("art", "artt"), "word 24, 'artt', is in no recovery phrase", "it may be art"),
        (PHRASE.replace("abandon", "blåbær", 1), "word 1, 'blabær', is in no recovery phrase", ""),
        (PHRASE.replace("abandon ", "", 1), "these are 23 words", ""),
        (PHRASE + " art", "these are 25 words", ""),
        ("", "these are 0 words", ""),
        (PHRASE.replace("art", "zoo"), "do not belong together", "two have changed places"),
        ("x" * 5_000, f"word 1, '{'x' * 20}', is in no", "the paper"),
    ],
)
def test_what_is_wrong_is_named(typed: str, told: str, advice: str) -> None:
    """By its number, with words that are near."""
    with pytest.raises(varde.WrongPhrase) as wrong:
        varde.check_phrase(typed)
    assert told in str(wrong.value)
    assert advice in wrong.value.advice


def test_a_wrong_word_is_asked_for_alone(person: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    """A person at a terminal does not type 24 words again for one letter."""
    asked = person(PHRASE.replace("abandon", "abandun", 1).replace("art", "arrt"), "abandon", "zoo", PHRASE)
    assert ask_phrase("The words") == PHRASE
    assert asked == ["The words", "Word 1", "Word 24", "The words"]
    told = capsys.readouterr().err
    assert "abandon" in told
    assert "do not belong together" in told


def test_in_a_script_a_wrong_word_is_an_error(
    monkeypatch: pytest.MonkeyPatch, person: Callable[..., list[str]]
) -> None:
    """Nobody is there to be asked."""
    person("abandun")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(varde.WrongWord):
        ask_phrase()
