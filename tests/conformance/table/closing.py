"""The end of a connection (RFC 6455 sections 5.5.1, 7.1 and 7.4)."""

from typing import Final

from tests.conformance.case import HALF_CLOSE, Case, ends
from tests.conformance.frame_reader import NO_BODY, NO_CLOSE
from tests.conformance.frames import CLOSE, Frame, Probe, binary, close, cont, fragments, ping, pong
from tests.conformance.table.texts import NOT_UTF8

VALID: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4103, 4999)
REGISTERED_LATER: Final = (1012, 1013, 1014)
"""Not in the RFC, but with the registry of section 11.7 since: refused or echoed, both can be defended."""
INVALID: Final = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65_535)

_WITHIN: Final = {1000, 1002}
"""A close frame within a message is in order; that the message is not, may be said."""

CASES: Final[tuple[Case, ...]] = (
    ends("no body", "5.5.1", NO_BODY, close()),
    ends("one byte", "5.5.1", 1002, Frame(CLOSE, b"\x03")),
    *(ends(f"code {code}", "7.4", code, close(code)) for code in VALID),
    *(ends(f"code {code} with a reason", "7.4", code, close(code, b"ha det")) for code in (1000, 4999)),
    *(ends(f"code {code}", "7.4", {code, 1002}, close(code)) for code in REGISTERED_LATER),
    *(ends(f"code {code}, which is none", "7.4", 1002, close(code)) for code in INVALID),
    ends("a reason of 123 bytes", "5.5", 1000, close(1000, b"a" * 123)),
    ends("a reason of 123 bytes beyond ASCII", "5.5.1", 1000, close(1000, "€".encode() * 41)),
    ends("a reason of 124 bytes", "5.5", 1002, close(1000, b"a" * 124)),
    ends("a reason of 1,000 bytes", "5.5", 1002, close(1000, b"a" * 1_000)),
    *(ends(f"a reason with {name}", "8.1", {1002, 1007}, close(1000, reason)) for name, reason in NOT_UTF8.items()),
    ends("a close that is not final", "5.5", 1002, close(1000, fin=False), after=[cont(b"")]),
    ends("a close that is not masked", "5.1", 1002, close(1000, mask=None)),
    ends("a close, then a message", "5.5.1", 1000, close(1000), after=[binary(Probe())]),
    ends("a close, then a large message", "5.5.1", 1000, close(1000), after=[binary(bytes(65_535))] * 8),
    ends("a close, then a ping", "5.5.1", 1000, close(1000), after=[ping(b"late")]),
    ends("a close, then a pong", "5.5.1", 1000, close(1000), after=[pong(b"late")]),
    ends("two closes", "5.5.1", 1000, close(1000), after=[close(1000)]),
    ends("two closes with different codes", "5.5.1", 1000, close(1000), after=[close(3000)]),
    ends("a close, then what is no frame", "5.5.1", 1000, close(1000), after=[b"\xff" * 32]),
    ends("a close after a message", "7.1", 1000, binary(Probe()), close(1000)),
    ends("a close after a ping", "7.1", 1000, ping(b"a"), close(1000)),
    ends("a close after a fragmented message", "7.1", 1000, *fragments(*Probe().pieces(3)), close(1000)),
    ends("a close within a message", "5.4", _WITHIN, binary(b"some", fin=False), close(1000), after=[cont(b"more")]),
    ends("a fault, then messages", "7.1.7", 1002, binary(b"x", rsv=4), after=[binary(Probe())] * 3),
    ends("a fault, then a mebibyte", "7.1.7", 1002, binary(b"x", rsv=4), after=[binary(bytes(65_535))] * 16),
    ends("a fault, then a ping", "7.1.7", 1002, binary(b"x", rsv=4), after=[ping(b"late")]),
    ends("a fault, then a close", "7.1.7", 1002, binary(b"x", rsv=4), after=[close(1000)]),
    ends("two faults", "7.1.7", 1002, binary(b"x", rsv=4), after=[Frame(3, b"x")]),
    ends("a close, then the end of the stream", "7.1.1", 1000, close(1000), after=[HALF_CLOSE]),
    ends("the end of the stream", "7.1.5", NO_CLOSE, HALF_CLOSE),
    ends("the end of the stream after a message", "7.1.5", NO_CLOSE, binary(Probe()), HALF_CLOSE),
    ends("the end of the stream within a message", "7.1.5", NO_CLOSE, binary(b"some", fin=False), HALF_CLOSE),
    ends("the end of the stream within a header", "7.1.5", NO_CLOSE, b"\x82", HALF_CLOSE),
    ends("the end of the stream within a mask", "7.1.5", NO_CLOSE, b"\x82\x85\x37\xfa", HALF_CLOSE),
    ends("the end of the stream within a payload", "7.1.5", NO_CLOSE, b"\x82\x85\x37\xfa\x21\x3dhe", HALF_CLOSE),
    ends("the end of the stream within a ping", "7.1.5", NO_CLOSE, b"\x89\x85\x37\xfa\x21\x3dhe", HALF_CLOSE),
    ends("the end of the stream within a long length", "7.1.5", NO_CLOSE, b"\x82\xff\x00\x00\x00", HALF_CLOSE),
)
