"""The client's end of a WebSocket reads what servers send, however it was cut.

The other side is the sans-I/O server of websockets, which knows nothing of ours.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from loadtest.client.websocket import (
    BINARY,
    PING,
    PONG,
    ServerFault,
    UpgradeRefused,
    masked,
    measure_frame,
    split_response,
    upgrade_request,
)
from tests.loadtest.client.splitter import Message, Splitter

CONTROL_SIZES = (0, 1, 125)
SIZES = (*CONTROL_SIZES, 126, 65_535, 65_536)


def upgraded() -> tuple[ServerProtocol, bytes]:
    """A server that took our upgrade, and what it answered."""
    server = ServerProtocol()
    server.receive_data(upgrade_request("127.0.0.1:1", "/", None))
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    return server, b"".join(server.data_to_send())


def test_a_server_takes_our_upgrade_and_we_its_answer() -> None:
    """The upgrade is accepted, and what came behind the answer is handed back."""
    _, answer = upgraded()
    assert split_response(answer[:-1]) is None
    assert split_response(answer + b"more") == b"more"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
        b"x" * 20_000,
    ],
)
def test_any_other_answer_ends_it(answer: bytes) -> None:
    """A refusal, a wrong proof and a head without end are faults of the server."""
    with pytest.raises(ServerFault):
        split_response(answer)


@pytest.mark.parametrize(
    ("opcode", "size"), [*((BINARY, size) for size in SIZES), *((PONG, size) for size in SIZES[:3])]
)
def test_a_server_reads_our_frames(opcode: int, size: int) -> None:
    """A frame of ours arrives unmasked, whichever width its length has."""
    server, _ = upgraded()
    server.receive_data(masked(bytes(size), opcode))
    assert server.events_received() == [Frame(Opcode(opcode), bytes(size))]


@given(
    st.lists(st.tuples(st.sampled_from([BINARY, PING]), st.binary(max_size=125) | st.just(bytes(70_000))), max_size=6),
    st.data(),
)
def test_frames_are_found_however_the_stream_is_cut(frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """Every frame of a server comes out once, whole and in order, for any split of the bytes."""
    sent = [(opcode, payload[:125] if opcode == PING else payload) for opcode, payload in frames]
    stream = b"".join(Frame(Opcode(opcode), payload).serialize(mask=False) for opcode, payload in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    splitter, found = Splitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.feed(stream[start:end])
    assert found == [Message(opcode, payload) for opcode, payload in sent]


@pytest.mark.parametrize(
    "stream",
    [b"\x82\x81masked", b"\x02\x01f", b"\xc2\x01c", b"\x82\x7f" + bytes.fromhex("00000000ffffffff")],
    ids=["masked", "fragment", "compressed", "endless"],
)
def test_frames_that_have_no_place_here_end_it(stream: bytes) -> None:
    """A masked, fragmented, compressed or giant frame of a server is its fault."""
    with pytest.raises(ServerFault):
        Splitter().feed(stream)


@pytest.mark.parametrize(
    ("after", "seconds"), [(b"Retry-After: 7\r\n", 7), (b"retry-after: soon\r\n", None), (b"", None)]
)
def test_a_refusal_says_when_to_come_back(after: bytes, seconds: int | None) -> None:
    """The status of a refused upgrade and its Retry-After are there for whoever decides about the next try."""
    with pytest.raises(UpgradeRefused) as refused:
        split_response(b"HTTP/1.1 429 Too Many Requests\r\n" + after + b"\r\n")
    assert (refused.value.status, refused.value.retry_after_s) == (429, seconds)


def test_a_frame_may_be_held_to_a_smaller_bound() -> None:
    """Whoever knows how long messages may be says so, and a longer one is a fault as soon as its head is there."""
    head = Frame(Opcode.BINARY, bytes(200)).serialize(mask=False)[:4]
    assert measure_frame(head, 0, 200) == (4, 204)
    with pytest.raises(ServerFault):
        measure_frame(head, 0, 199)
