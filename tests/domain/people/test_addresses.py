"""E-mail addresses: one spelling, one digest, one person. No mail is sent here."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.people.addresses import address_digest, code_digest, normal_address

PEPPER = b"p" * 32


@pytest.mark.parametrize(
    "typed",
    ["alice@example.org", "  Alice@Example.ORG\n", "ALICE@EXAMPLE.ORG", "\u00a0alice@example.org"],
)
def test_every_spelling_of_an_address_is_one_address(typed: str) -> None:
    """Case and white space around an address make no second account."""
    assert normal_address(typed) == "alice@example.org"


def test_composed_and_decomposed_letters_are_the_same() -> None:
    """Two keyboards that write the same letter in two ways write the same address."""
    composed = "bjørn.é@example.org"
    assert normal_address(unicodedata.normalize("NFD", composed)) == normal_address(composed)


def test_letters_that_fold_together_are_one_address() -> None:
    """ß folds to ss; so a code for either goes to the one folded spelling (see the sign-in)."""
    assert normal_address("STRASSE@example.org") == normal_address("straße@example.org") == "strasse@example.org"


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing(typed: str) -> None:
    """The spelling that is mailed to has the digest it was stored under."""
    assert normal_address(normal_address(typed)) == normal_address(typed)


def test_the_digest_depends_on_the_pepper_and_on_nothing_else() -> None:
    """Whoever steals the database without the pepper cannot try addresses against it."""
    digest = address_digest(PEPPER, "alice@example.org")
    assert digest == address_digest(PEPPER, "alice@example.org")
    assert digest != address_digest(b"q" * 32, "alice@example.org")
    assert len(digest) == 32
    assert b"alice" not in digest


def test_an_address_that_ends_in_a_code_is_not_that_code() -> None:
    """The digest of a code cannot pass for the digest of an address, nor for that of another pair."""
    assert address_digest(PEPPER, "a@b.no12345678") != code_digest(PEPPER, "a@b.no", "12345678")
    assert code_digest(PEPPER, "a@b.no1", "2345678") != code_digest(PEPPER, "a@b.no", "12345678")
