"""How a request is read, whatever its pieces, and how it is answered."""

import pytest
from websockets.frames import Frame, Opcode

from relay.socket.http_upgrade import REQUEST_BYTES, HttpUpgrade
from tests.relay.client import UPGRADE
from varde_contract.refusals import RefusalCode, Refused

READ: int = 65_536
FULL = Refused(RefusalCode.OVERLOADED, "The node is at its limit.", retry_after_ms=2_500)


def accept(http: HttpUpgrade) -> bool:
    """Whether the request is answered with an upgrade."""
    return http.answer(lambda _: None, unready=()) is None and http.take_bytes().startswith(b"HTTP/1.1 101 ")


def masked(opcode: Opcode, data: bytes = b"") -> bytes:
    """A frame as a client writes it."""
    return Frame(opcode, data).serialize(mask=True)


@pytest.mark.parametrize("size", range(1, 7))
def test_a_request_ends_where_it_ends_however_it_is_cut(size: int) -> None:
    """What comes behind it, in whatever piece, is the first message and not a part of the request."""
    stream = UPGRADE + masked(Opcode.BINARY, b"first")
    for begin in range(len(UPGRADE) - 6, len(UPGRADE) + 1):
        http = HttpUpgrade()
        for piece in (stream[:begin], stream[begin : begin + size], stream[begin + size :]):
            http.feed(piece)
        assert accept(http), begin
        assert http.rest == stream[len(UPGRADE) :], begin


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"a: b\r\n", id="short-lines"),
        pytest.param(b"a" * 100, id="one-line"),
        pytest.param(b"\r", id="returns"),
        pytest.param(b"a: %s\r\n" % (b"b" * 8_000), id="long-lines"),
    ],
)
def test_a_request_is_bounded(line: bytes) -> None:
    """Whatever it consists of: nothing is kept of it beyond its bound, and it is answered once."""
    http = HttpUpgrade()
    http.feed(b"GET / HTTP/1.1\r\n")
    for _ in range(2 * REQUEST_BYTES // len(line)):
        http.feed(line)
    assert http.unreadable
    assert http.take_bytes().startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 414 ", b"HTTP/1.1 400 "))
    http.feed(line * 1_000)
    assert http.take_bytes() == b""
    assert http._size <= REQUEST_BYTES + READ
    assert http.rest == b""


def test_a_request_of_the_largest_size_is_read() -> None:
    """The bound is meant for those who mean harm: it leaves room for the cookies of a browser."""
    http = HttpUpgrade()
    padding = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 7_000) for number in range(2))
    http.feed(UPGRADE[:-2] + padding + b"\r\n")
    assert accept(http)


def test_an_unfinished_request_says_that_it_has_begun() -> None:
    """Silence, a beginning, and a whole request are three things."""
    http, begun = HttpUpgrade(), []
    for piece in (UPGRADE[:1], UPGRADE[1:-2], UPGRADE[-2:]):
        begun.append(http.begun)
        http.feed(piece)
    begun.append(http.begun)
    accept(http)
    begun.append(http.begun)
    assert begun == [False, True, True, False, False]


def test_an_unfinished_request_is_answered_in_the_end() -> None:
    """Whoever took too long hears it."""
    http = HttpUpgrade()
    http.feed(b"G")
    http.give_up()
    assert http.take_bytes().startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("sent", [UPGRADE, UPGRADE[:1]])
def test_what_came_with_the_request_is_not_lost(sent: bytes) -> None:
    """A client may write its first message without waiting for the 101 (RFC 6455 section 4.1 forbids it; many do)."""
    http, message = HttpUpgrade(), masked(Opcode.BINARY, b"first")
    http.feed(sent)
    http.feed(UPGRADE[len(sent) :] + message)
    assert accept(http)
    assert http.rest == message


def test_what_comes_after_a_refusal_is_not_kept() -> None:
    """A client that was turned away and goes on sending fills no memory."""
    http = HttpUpgrade()
    http.feed(UPGRADE)
    http.answer(lambda _: FULL, unready=())
    assert http.take_bytes().startswith(b"HTTP/1.1 503 ")
    for _ in range(100):
        http.feed(bytes(1_000))
    assert http.rest == b""
    assert not http.finished
    http.feed(b"")
    assert http.finished
