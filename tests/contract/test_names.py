"""Names: one form of each, nothing hidden in them, and who looks like whom."""
# ruff: noqa: RUF001 - letters that look like others are what this is about

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varde_contract.names import NAME_CHARACTERS, clean_name, compared, look_alike

FAMILY = "👩\u200d👩\u200d👧"


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("Bob", "Bob"),
        ("  Bob \t Smith ", None),  # a tab is a control
        ("  Bob   Smith ", "Bob Smith"),
        ("Bob\u00a0Smith", "Bob Smith"),
        ("A\u030ase", "Åse"),
        ("नेहा", "नेहा"),
        ("O\u2019Neill", "O\u2019Neill"),
        (FAMILY, FAMILY),
        ("❤\ufe0f", "❤\ufe0f"),
        ("a" * NAME_CHARACTERS, "a" * NAME_CHARACTERS),
        ("a\u030a" * NAME_CHARACTERS, "å" * NAME_CHARACTERS),  # counted as it is kept
    ],
)
def test_what_a_name_becomes(given_name: str, kept: str | None) -> None:
    """NFC, one space where there was white space, nothing else changed."""
    if kept is None:
        with pytest.raises(ValueError, match="controls"):
            clean_name(given_name)
    else:
        assert clean_name(given_name) == kept


@pytest.mark.parametrize(
    "refused",
    [
        *(
            "",
            " ",
            "\u00a0\u2003",
            "\u200d",
            "\u200c\u200d",
            "\u200b",
            "\ufeff",
            "\u2060",
            "\u3164",
            "\u2800",
            "\uffa0",
        ),
        *("\u115f\u1160", "\u034f", "\ufe0f", "\U000e0100", "\u0301", "\u00ad", "\U000e0041"),
        *("Bob\n", "Bob\r\nadmin", "\x1b[31mBob", "Bob\x00", "Bob\x9b", "Bob\u2028", "Bob\u2029"),
        *("\u202eboB", "Bob\u2066", "Bob\u200e", "Bob\u200f", "Bob\u061c", "Bob\ue000", "Bob\ud800"),
        "a" * (NAME_CHARACTERS + 1),
    ],
)
def test_what_is_no_name(refused: str) -> None:
    """Nothing to see, what moves a cursor or turns the direction, what nobody can write down, and too much."""
    with pytest.raises(ValueError, match="a name"):
        clean_name(refused)


@given(st.text(max_size=200))
def test_a_clean_name_stays_as_it_is(text: str) -> None:
    """To clean is to clean once; what passes is NFC, within the limit and seen."""
    try:
        name = clean_name(text)
    except ValueError:
        return
    assert clean_name(name) == name
    assert unicodedata.is_normalized("NFC", name)
    assert 1 <= len(name) <= NAME_CHARACTERS
    assert name.strip() == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("Bob", "bOB"), ("Straße", "STRASSE"), ("Åse", "A\u030ase"), ("ﬁn", "fin"), ("Ｂｏｂ", "bob")),
        *(("❤", "❤\ufe0f"), ("Bob Smith", "bob\u00a0smith"), ("Σίσυφος", "ΣΊΣΥΦΟΣ")),
    ],
)
def test_the_same_name(one: str, other: str) -> None:
    """Case, width, ligatures and invisible characters make no other name."""
    assert compared(one) == compared(other)
    assert look_alike(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("Bob", "Воb"), ("Alice", "Аlісе"), ("ANNA", "ΑΝΝΑ"), ("paypal", "раураl"), ("Ill", "lll")),
        *(("Bo0b", "Boob"), ("Ase", "Åse"), ("HOP", "НОР")),
    ],
)
def test_names_that_look_the_same(one: str, other: str) -> None:
    """Two names, and most readers would take one for the other."""
    assert compared(one) != compared(other)
    assert look_alike(one, other)


@pytest.mark.parametrize(("one", "other"), [("Bob", "Rob"), ("Анна", "Инна"), ("山田", "山本"), ("modern", "modem")])
def test_names_that_are_told_apart(one: str, other: str) -> None:
    """Other names are other names. Several letters that look like one are not known, which the docs say."""
    assert not look_alike(one, other)
