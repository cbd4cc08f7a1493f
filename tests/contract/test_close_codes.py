"""Close codes are documentation: each has a row that says when, and what to do."""

import re

import pytest

from varde_contract.close_codes import MEANINGS, CloseCode
from varde_contract.errors import PeerFault


@pytest.mark.parametrize("code", CloseCode, ids=lambda code: code.label)
def test_every_code_is_documented(code: CloseCode) -> None:
    """Whoever meets a close code finds when it is used and what to do next, in words."""
    row = MEANINGS[code]
    assert min(len(row.when), len(row.reader_should)) >= len("reconnect")
    assert not row.when.endswith(".")


def test_no_row_is_left_over() -> None:
    """The documentation holds no code that the relay does not have."""
    assert set(MEANINGS) == set(CloseCode)


@pytest.mark.parametrize("code", CloseCode, ids=lambda code: code.label)
def test_the_number_says_whether_to_come_back(code: CloseCode) -> None:
    """4000 to 4099 come back unchanged, 4100 to 4199 do not: a client may decide by the number alone."""
    assert 4000 <= code < 4200
    assert code.comes_back is (code < 4100)
    assert MEANINGS[code].reader_should.startswith("reconnect") is code.comes_back


@pytest.mark.parametrize("code", CloseCode, ids=lambda code: code.label)
def test_the_label_fits_a_close_frame_and_a_metric(code: CloseCode) -> None:
    """A label is a word of small letters, well below the 123 bytes of a close reason (RFC 6455 section 5.5)."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code.label)
    assert len(code.label) < 32


def test_a_fault_is_a_protocol_error_unless_it_says_otherwise() -> None:
    """What a peer breaks is closed with 4103, and never asks it to come back as it is."""
    assert PeerFault("a rule").close_code is CloseCode.PROTOCOL_ERROR
    assert not PeerFault("a rule").close_code.comes_back
