"""The one list of refusals."""

import re

import pytest

from varde_contract.refusals import RefusalCode, Refused


@pytest.mark.parametrize("code", RefusalCode)
def test_the_word_is_the_name(code: RefusalCode) -> None:
    """A refusal is called the same in code, on the wire, in metrics and in the docs."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
    assert code.name == code.upper().replace("-", "_")


def test_a_refusal_asks_for_nothing_more_by_itself() -> None:
    """Without a time to wait and without devices to repair, neither is claimed."""
    refused = Refused(RefusalCode.NOT_FOUND, "there is no such conversation")
    assert (refused.retry_after_ms, refused.stale) == (None, None)


def test_no_two_refusals_share_a_word() -> None:
    """The list has no aliases, so that matching it exhaustively means something."""
    assert len(RefusalCode.__members__) == len(set(RefusalCode))
