"""What a client is told when a refusal ends its connection."""

import pytest

from relay.frames.refusals import close_code
from varde_contract.close_codes import CloseCode
from varde_contract.refusals import RefusalCode


@pytest.mark.parametrize("code", RefusalCode)
def test_every_refusal_has_a_close_code(code: RefusalCode) -> None:
    """Whatever a Hello may be refused with, the client is told whether to come back."""
    assert isinstance(close_code(code), CloseCode)


def test_what_passes_by_itself_says_come_back() -> None:
    """A full or broken node is no fault of the client's; a ticket is."""
    passing = {RefusalCode.UNAVAILABLE, RefusalCode.OVERLOADED, RefusalCode.RATE_LIMITED, RefusalCode.TOO_SLOW}
    assert all(close_code(code).comes_back for code in passing)
    tickets = {RefusalCode.TICKET_INVALID, RefusalCode.TICKET_EXPIRED, RefusalCode.TICKET_REVOKED}
    assert not any(close_code(code).comes_back for code in tickets)
