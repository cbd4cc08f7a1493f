"""What callers ask for, and how often."""

import random
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.rest.operations import CLAIMS, MIX, LetterBox, Person, SignInAllowance, draw_request, sign_in
from tests.loadtest.ledger.manual_clock import ManualClock
from tests.loadtest.rest.people import a_crowd

SECOND = 1_000_000_000


def letter(folder: Path, name: str, to: str, code: str) -> None:
    """Put a letter into a folder as the API's development mailer writes it."""
    text = f"To: {to}\nFrom: Varde <varde@localhost>\nSubject: x\n\nYour code to sign in to Varde:\n\n    {code}\n\nx\n"
    (folder / f"{name}.eml").write_text(text)


def test_the_mix_is_asked_by_its_weights() -> None:
    """Over many draws every operation comes, and the two most usual ones in the shares of the table."""
    person, dice = Person(a_crowd("http://127.0.0.1"), 0), random.Random(1)  # noqa: S311 - it spreads load
    names = Counter(draw_request(person, dice).name for _ in range(5_000))
    whole = sum(weight for weight, _ in MIX)
    assert len(names) == len(MIX)
    assert abs(names["GET /v1/conversations"] / 5_000 - 22 / whole) < 0.03
    assert abs(names["POST /v1/relay/tickets"] / 5_000 - 20 / whole) < 0.03


@settings(max_examples=15)
@given(st.integers(0, 1_000))
def test_nobody_claims_more_keys_than_the_api_allows(seed: int) -> None:
    """However long a run is, a caller claims the keys of one device fewer times than are refused."""
    person, dice = Person(a_crowd("http://127.0.0.1"), 0), random.Random(seed)  # noqa: S311 - it spreads load
    names = Counter(draw_request(person, dice).name for _ in range(400))
    assert names["POST /v1/prekeys/claim"] <= CLAIMS < 10


def test_requests_do_not_show_what_they_hold() -> None:
    """Neither token nor ids of a request are in what is printed of it."""
    person, dice = Person(a_crowd("http://127.0.0.1"), 0), random.Random(1)  # noqa: S311 - it spreads load
    shown = {repr(draw_request(person, dice)) for _ in range(100)}
    assert shown == {"Request(...)"}


def test_a_letter_is_read_once(tmp_path: Path) -> None:
    """The newest code for an address is given once; letters to others are kept for them; half a letter is not read."""
    letters = LetterBox(tmp_path)
    assert letters.take("a@load.example") is None
    letter(tmp_path, "0001", "a@load.example", "11111111")
    letter(tmp_path, "0002", "b@load.example", "22222222")
    letter(tmp_path, "0003", "a@load.example", "33333333")
    (tmp_path / ".0004").write_text("To: c@load.example\n\n    44444444\n")
    (tmp_path / "0005.eml").write_bytes(b"\xff\x00 no letter")
    assert [letters.take(f"{who}@load.example") for who in "aabc"] == ["33333333", None, "22222222", None]


def test_a_folder_that_is_not_there_has_no_letters(tmp_path: Path) -> None:
    """Before the first letter there may be no folder."""
    assert LetterBox(tmp_path / "outbox").take("a@load.example") is None


def test_a_sign_in_without_a_letter_still_asks(tmp_path: Path) -> None:
    """When no letter came, the request is made all the same, so that a failure is seen."""
    journey = sign_in("a@load.example", LetterBox(tmp_path))
    assert next(journey).name == "POST /v1/auth/codes"
    assert journey.send(None).name == "POST /v1/auth/session"


@given(st.lists(st.integers(0, 3 * SECOND), max_size=300))
def test_an_address_signs_in_no_faster_than_the_api_allows(pauses_ns: list[int]) -> None:
    """Over any stretch of time, what one address spends stays below the API's 120 and one more each second."""
    clock, spent = ManualClock(), 0
    allowance = SignInAllowance(clock.now_ns)
    for pause_ns in pauses_ns:
        clock.shows_ns += pause_ns
        spent += 2 * allowance.spend("127.1.0.1", 2)
        assert spent <= 120 + clock.shows_ns / SECOND
    assert allowance.spend("127.1.0.2", 2)
