"""Bodies: read strictly, and never repeated in what is said of them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.http.requests import BodyReader, QueryReader
from api.resources.talk.conversations import PageQuery
from varde_contract.people import ProfileType
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.people import NewProfile, PrekeyClaim

profiles = BodyReader(NewProfile)
pages = QueryReader(PageQuery)
ID = b"019b76da-a800-7000-8000-000000000007"
CANARY = "canary-5d41402a"


def test_a_good_body_is_read() -> None:
    """What fits is what was sent."""
    body = b'{"type": "JOBB", "salt": "%s="}' % (b"A" * 43)
    assert profiles.read(body) == NewProfile(ProfileType.JOBB, bytes(32))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"JOBB"',
        b'{"type": "JOBB"} {}',
        b'{"type": "jobb"}',
        b'{"type": 1}',
        b'{"type": "JOBB", "policies": {"typing": "true"}}',
        b'{"type": "JOBB", "policies": {"working_hours": {"from_minute": "1", "to_minute": 2}}}',
        b'{"type": "JOBB", "policies": {"working_hours": {"from_minute": -1, "to_minute": 2}}}',
        b'{"type": "JOBB", "unknown": 1}',
        b'{"type": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"type": ' + b"[" * 100_000,
    ],
)
def test_refusal_malformed_body(body: bytes) -> None:
    """No JSON, another shape, a wrong type, an unknown field, bytes that are no text: all are refused."""
    outcome = profiles.read(body)
    assert isinstance(outcome, Refused)
    assert outcome.code is RefusalCode.MALFORMED


@pytest.mark.parametrize(
    "body",
    [
        {CANARY: 1},
        {"type": CANARY},
        {"type": "JOBB", "policies": {CANARY: 1}},
        {"type": "JOBB", "theme": f"x - at `$.{CANARY}`"},
        {"type": "JOBB", "a` - at `$.canary": 1},
        {"type": "JOBB", "policies": {"a` - at `$.canary": 1}},
    ],
)
def test_what_was_sent_is_never_repeated(body: object) -> None:
    """Neither a field's name nor a value of the sender comes back, however it is dressed up."""
    outcome = profiles.read(msgspec.json.encode(body))
    assert isinstance(outcome, Refused)
    assert "canary" not in outcome.detail


def test_the_field_at_fault_is_named() -> None:
    """A developer sees where to look, by names that are in the documentation anyhow."""
    outcome = profiles.read(b'{"type": "JOBB", "policies": {"working_hours": {"from_minute": -1, "to_minute": 2}}}')
    assert isinstance(outcome, Refused)
    told = "The body is not a NewProfile: look at body.policies.working_hours.from_minute. Expected `int` >= 0."
    assert outcome.detail == told


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"conversation": "x"}', "look at body.conversation. An id is a UUIDv7, in lower case with hyphens."),
        (b'{"conversation": "%s"}' % ID, "body.devices is missing."),
        (b'{"conversation": "%s", "devices": ["%s", 7]}' % (ID, ID), "look at body.devices[1]."),
        (b'{"conversation": "%s", "to": []}' % ID, "body has a field that is not known there."),
        (b"[]", "look at body. Expected `object`, got `array`."),
    ],
)
def test_the_field_its_index_and_what_is_expected_are_named(body: bytes, told: str) -> None:
    """Whoever writes a client need not guess, and reads none of the client's own bytes."""
    outcome = BodyReader(PrekeyClaim).read(body)
    assert isinstance(outcome, Refused)
    assert outcome.detail.startswith(f"The body is not a PrekeyClaim: {told}")


@pytest.mark.parametrize(
    "salt", [b"A" * 43, b"A" * 42 + b"-=", b"A" * 42 + b"_=", b"A" * 43 + b"==", b" " + b"A" * 43 + b"="]
)
def test_bytes_are_base64_with_padding(salt: bytes) -> None:
    """One spelling, as the protocol says: neither the URL-safe one nor one without padding."""
    outcome = profiles.read(b'{"type": "JOBB", "salt": "%s"}' % salt)
    assert isinstance(outcome, Refused)
    assert "look at body.salt." in outcome.detail


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Nothing that arrives raises."""
    assert isinstance(profiles.read(body), NewProfile | Refused)


def test_query_parameters_are_converted() -> None:
    """In a query everything is text."""
    assert pages.read({"limit": ["7"]}) == PageQuery(limit=7)


@pytest.mark.parametrize(
    "query", [{"limit": ["0"]}, {"limit": ["1", "2"]}, {"limit": ["x"]}, {"after": ["x"]}, {CANARY: ["1"]}]
)
def test_refusal_malformed_query(query: dict[str, list[str]]) -> None:
    """Out of range, twice, no number, no id, unknown: all are refused, and not repeated."""
    outcome = pages.read(query)
    assert isinstance(outcome, Refused)
    assert outcome.code is RefusalCode.MALFORMED
    assert CANARY not in outcome.detail
