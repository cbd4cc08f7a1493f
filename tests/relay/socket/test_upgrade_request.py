"""The fast path of the upgrade beside the library's parser: where it says anything, both say the same."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.metrics.labels import HandshakeOutcome
from relay.socket.http_upgrade import HttpUpgrade
from relay.socket.upgrade_request import SMALL, read_upgrade
from tests.conformance.requests import head
from tests.conformance.table.upgrade import REQUESTS
from tests.relay.client import UPGRADE
from varde_contract.refusals import RefusalCode, Refused

BUSY = Refused(RefusalCode.OVERLOADED, "The node is at its limit.", retry_after_ms=2_500)
OURS = (
    UPGRADE,
    head(("User-Agent", "Python/3.11 websockets/17.4")),
    head(("X-Forwarded-For", "192.0.2.1, 198.51.100.7"), ("X-Forwarded-Proto", "https")),
    head().replace(b"Sec-WebSocket", b"sec-websocket"),
    head().replace(b"/v1/relay", b"/v1/relay?route=3fa9"),
)
FOREIGN = (
    head().replace(b"/v1/relay", b"/v1/relay?route=3FA9"),
    head().replace(b"/v1/relay", b"/v1/relay?route=3fa90"),
    head().replace(b"/v1/relay", b"/v1/relay?hue=blue"),
    head(("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "198.51.100.7")),
    head(("X-Forwarded-For", "192.0.2.1\xa0")),
    head(("User-Agent", "a "), ("X-Forwarded-For", "")),
    head(sec_websocket_key="dGhlIHNhbXBsZSBub25jZR=="),
    head(("User-Agent", "y" * SMALL)),
    UPGRADE + UPGRADE,
    UPGRADE[:-2],
)


class Outcome:
    """What becomes of a request that arrives in these pieces."""

    def __init__(self, pieces: Sequence[bytes], refused: Refused | None) -> None:
        http, self.forwarded = HttpUpgrade(), list[str]()
        for piece in pieces:
            http.feed(piece)
        self.became: HandshakeOutcome | str | None = "nothing yet"
        if http.request is not None:
            self.became = http.answer(lambda forwarded: self._admit(forwarded, refused), unready=())
        self.rest, self.ended = bytes(http.rest), http.wants_eof
        first, *fields = http.take_bytes().partition(b"\r\n\r\n")[0].split(b"\r\n")
        # Whoever upgrades need not say when.
        self.said = first, sorted(field for field in fields if not field.startswith(b"Date: "))

    def _admit(self, forwarded: str, refused: Refused | None) -> Refused | None:
        self.forwarded.append(forwarded)
        return refused


def assert_same(request: bytes) -> None:
    """A request in two pieces is never for the fast path."""
    for refused in (None, BUSY):
        at_once, cut = (Outcome(pieces, refused) for pieces in ([request], [request[:1], request[1:]]))
        assert vars(at_once) == vars(cut)


@pytest.mark.parametrize("request_", OURS)
def test_what_our_clients_send_is_read(request_: bytes) -> None:
    """Also with what a load balancer adds, and with the names in lower case."""
    assert read_upgrade(request_) is not None
    assert_same(request_)


@pytest.mark.parametrize("request_", FOREIGN)
def test_what_is_unusual_is_left_to_the_library(request_: bytes) -> None:
    """Good or not: nothing is said of it."""
    assert read_upgrade(request_) is None
    assert_same(request_)


@pytest.mark.parametrize("request_", [case.request for case in REQUESTS], ids=[case.name for case in REQUESTS])
def test_both_answer_the_table_of_conformance_alike(request_: bytes) -> None:
    """Status, fields, and what admission is asked."""
    assert_same(request_)


PIECES = [*re.split(rb"(\r\n|: | |,)", UPGRADE), b"\r", b"\n", b"\t", b"\0", b"\xe5", b"a", b"0", b"x-forwarded-for: "]


@given(
    st.lists(
        st.tuples(st.integers(0, len(UPGRADE)), st.integers(0, 30), st.sampled_from(PIECES) | st.binary(max_size=3)),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(OURS),
)
@example([(len(UPGRADE) - 2, 0, b"Origin: a\r\n")], UPGRADE)
def test_both_answer_alike_whatever_a_request_is_changed_to(
    changes: list[tuple[int, int, bytes]], request_: bytes
) -> None:
    """Where something is cut out of a good request and something else put in, the outcome is the library's."""
    for begin, length, instead in changes:
        request_ = request_[:begin] + instead + request_[begin + length :]
    assert_same(request_)
