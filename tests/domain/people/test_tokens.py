"""Tokens: one spelling each, their secret never shown by accident."""

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.people.tokens import SECRET_BYTES, TOKEN_CHARACTERS, Token
from tests.ids import id_of
from varde_contract.ids import AccountId, SessionId

token = Token(AccountId(id_of(1)), SessionId(id_of(2)), b"s" * SECRET_BYTES)


@given(st.uuids(), st.uuids(), st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES))
def test_a_token_reads_back_as_it_was_spelled(account: UUID, session: UUID, secret: bytes) -> None:
    """What a client keeps is all of the token, in a length the contract knows."""
    made = Token(AccountId(account), SessionId(session), secret)
    assert len(made.spell()) == TOKEN_CHARACTERS
    assert Token.parse(made.spell()) == made


@given(st.text(max_size=100))
def test_whatever_is_no_token_is_none(text: str) -> None:
    """Any text is either the one spelling of a token, or no token; nothing raises."""
    parsed = Token.parse(text)
    assert parsed is None or parsed.spell() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "é" * TOKEN_CHARACTERS,
        "A" * (TOKEN_CHARACTERS - 1),
        "A" * (TOKEN_CHARACTERS + 1),
        "A" * (TOKEN_CHARACTERS - 1) + "B",
        "A" * (TOKEN_CHARACTERS - 1) + "=",
        "A" * (TOKEN_CHARACTERS - 1) + "+",
        "A" * (TOKEN_CHARACTERS - 1) + "\n",
    ],
)
def test_a_second_spelling_of_a_token_is_no_token(text: str) -> None:
    """Padding, other alphabets and stray bits are refused: a token has one spelling."""
    assert Token.parse(text) is None


def test_the_secret_is_in_no_repr() -> None:
    """A token that ends up in a log says whose it is and proves nothing."""
    shown = f"{token!r} {token}"
    assert token.spell() not in shown
    assert "sss" not in shown


def test_only_the_same_secret_matches() -> None:
    """Ids alone prove nothing."""
    other = Token(token.account, token.session, b"t" * SECRET_BYTES)
    assert token.matches(token.digest())
    assert not other.matches(token.digest())
    assert base64.urlsafe_b64decode(token.spell() + "==").endswith(token.secret)
