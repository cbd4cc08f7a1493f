"""Which refusals and close codes a simulation reached, and why it cannot reach the others."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from relay.metrics.labels import HANDSHAKE_CLOSE_CODES, HandshakeOutcome
from simulation.fleet import Fleet
from varde_contract.close_codes import CloseCode
from varde_contract.refusals import RefusalCode

_AS_CLOSE_CODE: Final = "a relay closes with the code of that name instead"
UNREACHABLE: Final[Mapping[RefusalCode, str]] = {
    RefusalCode.TICKET_INVALID: _AS_CLOSE_CODE,
    RefusalCode.TICKET_EXPIRED: _AS_CLOSE_CODE,
    RefusalCode.TICKET_REVOKED: _AS_CLOSE_CODE,
    RefusalCode.VERSION_UNSUPPORTED: _AS_CLOSE_CODE,
    **dict.fromkeys(
        (RefusalCode.WRONG_KIND, RefusalCode.ALREADY_MEMBER, RefusalCode.LAST_OWNER, RefusalCode.DEVICE_EXISTS),
        "judged from the signed statement alone, and the SDK signs none like it: tests/domain and tests/api do",
    ),
    **dict.fromkeys(
        (RefusalCode.NAME_TAKEN, RefusalCode.BAD_CARD, RefusalCode.STALE_CARD),
        "nobody in a run has a user name or a card: tests/api does",
    ),
    RefusalCode.TOO_SLOW: "requests to the API come whole: there is no HTTP connection between",
    RefusalCode.INTERNAL: "it is a bug, and a violation",
}
"""What no run can reach."""
_CLOSED_BY: Final = {
    outcome: code for code, outcome in HANDSHAKE_CLOSE_CODES.items() if code is not CloseCode.SLOW_CONSUMER
}
_REFUSED_BY: Final = {
    HandshakeOutcome.OVERLOADED: RefusalCode.OVERLOADED,
    HandshakeOutcome.RATE_LIMITED: RefusalCode.RATE_LIMITED,
}


def reached(fleet: Fleet) -> tuple[Counter[str], Counter[str]]:
    """Return how often each refusal and each close code was said in one simulation, by API and relays."""
    refusals, closes = Counter(fleet.refusals), Counter[str]()
    for metrics in (services.metrics for services in fleet.all_services):
        refusals.update({code.value: count for code, count in metrics.refusals.items()})
        refusals.update(
            {_REFUSED_BY[each].value: count for each, count in metrics.handshakes.items() if each in _REFUSED_BY}
        )
        labels = {code.value: code.label for code in CloseCode}
        closes.update({labels[code]: count for code, count in metrics.disconnects.items() if code in labels})
        closes.update(
            {_CLOSED_BY[each].label: count for each, count in metrics.handshakes.items() if each in _CLOSED_BY}
        )
    return +refusals, +closes


def rows(refusals: Mapping[str, int], closes: Mapping[str, int]) -> Iterator[str]:
    """Return the table as lines: how often each was reached, or why it cannot be."""
    yield f"refusals: {len(refusals)} of {len(RefusalCode)}, of which {len(UNREACHABLE)} cannot be reached"
    for code in RefusalCode:
        yield f"  {code.value:24} {refusals.get(code.value, 0) or UNREACHABLE.get(code, 'not reached')}"
    yield f"close codes: {len(closes)} of {len(CloseCode)}"
    for close in CloseCode:
        yield f"  {close.label:24} {closes.get(close.label, 0) or 'not reached'}"
