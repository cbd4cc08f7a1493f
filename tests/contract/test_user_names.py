"""User names: one spelling, nothing that looks like somebody else, nothing that reads as something else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.vectors import write_links
from varde_contract.user_names import (
    LONGEST,
    RESERVED,
    SHORTEST,
    UserNameFault,
    is_reserved,
    normal_user_name,
    skeleton,
)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Ola", "ola"),
        ("  @kari.n ", "kari.n"),
        ("\uff2f\uff2c\uff21", "ola"),
        ("\u210cans", "hans"),
        ("a_b.c9", "a_b.c9"),
        ("\u017fam", "sam"),
    ],
)
def test_a_name_has_one_spelling(typed: str, name: str) -> None:
    """Whatever the keyboard made of it."""
    assert normal_user_name(typed) == name
    assert normal_user_name(name) == name


@pytest.mark.parametrize(
    "typed",
    [
        *(
            "",
            "ab",
            "a" * 33,
            "a" * 1_000_000,
            ".ola",
            "ola.",
            "o..la",
            "o._la",
            "ola nordmann",
            "blåbær",
            "\u043ela",
            "ola\n.",
        ),
        *(
            "ola\u200d",
            "\u202eola",
            "ola@example.org",
            "0192f0c17b3e7c559d1a0e4b7e1d2c3f",
            "ola/../kari",
            "%6fla",
            "\x00\x00\x00",
        ),
    ],
)
def test_what_is_no_name_is_refused_in_words(typed: str) -> None:
    """Cyrillic letters, invisible ones, ids, addresses, paths: with nothing of it in the words."""
    with pytest.raises(UserNameFault) as refused:
        normal_user_name(typed)
    assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("one", "other"),
    [("ola", "0la"), ("lilla", "1i11a"), ("morn", "mom"), ("a.b_c", "abc"), ("vvilly", "willy"), ("clan", "dan")],
)
def test_names_that_look_alike_have_one_skeleton(one: str, other: str) -> None:
    """So that only one of them is given away."""
    assert skeleton(one) == skeleton(other)


def test_names_that_differ_to_the_eye_have_other_skeletons() -> None:
    """Or nobody could have one."""
    assert len({skeleton(each) for each in ("ola", "kari", "per", "pal", "anne", "hanne", "nils", "olav")}) == 8


@pytest.mark.parametrize("name", [*RESERVED, "adm1n", "supp0rt", "r00t", "varde", "varde.help", "v_arde"])
def test_nobody_is_called_as_if_they_were_in_charge(name: str) -> None:
    """Nor as what commands understand as something else."""
    assert is_reserved(name)


def test_reserved_names_are_names() -> None:
    """Otherwise the row would keep nobody from anything."""
    assert [normal_user_name(each) for each in RESERVED] == list(RESERVED)
    assert not is_reserved("ola")


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    """And a name is stable, short and plain."""
    try:
        name = normal_user_name(text)
    except UserNameFault:
        return
    assert normal_user_name(name) == name
    assert name.isascii()
    assert SHORTEST <= len(name) <= LONGEST


def test_the_names_are_those_of_the_first_day() -> None:
    """Golden ones: a server that folds otherwise would find nobody any more."""
    for vector in json.loads(write_links.PATH.read_text(encoding="utf-8"))["user_names"]:
        assert normal_user_name(vector["typed"]) == vector["name"]
        assert skeleton(vector["name"]) == vector["skeleton"]
