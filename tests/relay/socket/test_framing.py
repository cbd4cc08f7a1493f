"""The fast path of the WebSocket, held against the library's parser."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from relay.socket.framing import PING, binary_frame, frame_size, only_message, split
from relay.socket.websocket import WebSocket
from varde_contract.limits import NOISE_MESSAGE_BYTES


def masked(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    """A frame as a client writes it."""
    return Frame(opcode, data, fin).serialize(mask=True)


payloads = st.one_of(st.binary(max_size=300), st.sampled_from([125, 126, 127, 65_534, NOISE_MESSAGE_BYTES]).map(bytes))
pieces = st.one_of(
    payloads.map(lambda data: masked(Opcode.BINARY, data)),
    st.binary(max_size=125).map(lambda data: masked(Opcode.PING, data)),
    st.binary(max_size=125).map(lambda data: masked(Opcode.PONG, data)),
    st.tuples(st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=50)).map(
        lambda parts: (
            masked(Opcode.BINARY, parts[0], fin=False)
            + masked(Opcode.PING, b"between")
            + masked(Opcode.CONT, parts[1], fin=False)
            + masked(Opcode.CONT, parts[2])
        )
    ),
    st.binary(min_size=1, max_size=20),
)


def oracle(stream: bytes) -> tuple[list[bytes], bytes, State]:
    """What the library makes of the stream: messages, what it writes, and where it stands."""
    protocol = ServerProtocol(state=State.OPEN, max_size=NOISE_MESSAGE_BYTES)
    protocol.receive_data(stream)
    messages: list[bytes] = []
    parts: list[bytes] = []
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        if event.opcode in (Opcode.BINARY, Opcode.CONT):
            parts.append(bytes(event.data))
            if event.fin:
                messages.append(b"".join(parts))
                parts = []
    return messages, b"".join(protocol.data_to_send()), protocol.state


@given(st.lists(pieces, max_size=8), st.lists(st.integers(0, 2_000), max_size=12))
def test_any_stream_in_any_pieces_means_what_the_library_says(frames: list[bytes], cuts: list[int]) -> None:
    """Fast or slow, whole or in splinters, with garbage or without: the same messages, and the same answers."""
    stream = b"".join(frames)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    websocket = WebSocket()
    for begin, end in pairwise(edges):
        websocket.feed(stream[begin:end])
    messages, written, state = oracle(stream)
    ours = websocket.take_messages()
    if any(opcode is Opcode.TEXT for opcode in texts(stream)):
        return  # the library takes text; that ours ends there is tested with the connection
    assert ours == messages
    assert websocket.take_bytes() == written
    assert websocket.open == (state is State.OPEN)


def texts(stream: bytes) -> list[Opcode]:
    """The opcodes of all frames that the library finds."""
    protocol = ServerProtocol(state=State.OPEN, max_size=NOISE_MESSAGE_BYTES)
    protocol.receive_data(stream)
    return [event.opcode for event in protocol.events_received() if isinstance(event, Frame)]


@given(st.lists(payloads, max_size=5), st.integers(0, 500))
def test_whole_binary_frames_never_reach_the_library(messages: list[bytes], cut: int) -> None:
    """They are split here, and what is not whole yet is waited for."""
    stream = b"".join(masked(Opcode.BINARY, message) for message in messages)
    websocket = WebSocket()
    websocket.feed(stream[:cut])
    websocket.feed(stream[cut:])
    assert websocket.take_messages() == messages
    assert websocket.slow_frames == 0


def test_an_idle_connection_keeps_no_parser() -> None:
    """After a ping, and after a message in fragments, the next frame is fast again."""
    websocket = WebSocket()
    websocket.feed(masked(Opcode.PING, b"x"))
    websocket.feed(masked(Opcode.BINARY, b"a", fin=False))
    kept = [websocket._protocol]
    websocket.feed(masked(Opcode.CONT, b"b"))
    kept.append(websocket._protocol)
    websocket.feed(masked(Opcode.BINARY, b"c"))
    assert [each is None for each in kept] == [False, True]
    assert websocket.take_messages() == [b"ab", b"c"]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_534, NOISE_MESSAGE_BYTES])
def test_what_we_write_is_what_the_library_writes(size: int) -> None:
    """Lengths are minimal (RFC 6455 section 5.2), and nothing is masked."""
    message = bytes(size)
    assert binary_frame(message) == Frame(Opcode.BINARY, message).serialize(mask=False)
    assert Frame(Opcode.PING, b"").serialize(mask=False) == PING


@given(pieces, st.integers(0, 100))
def test_the_size_of_a_frame_is_known_from_its_header(frame: bytes, behind: int) -> None:
    """Of each frame that may be waited for, wherever it ends in what came."""
    size = frame_size(frame + bytes(behind))
    found = split(frame + bytes(behind))
    if found.messages:
        assert size in (len(frame), found.end) or len(found.messages) > 1


def test_what_need_not_be_waited_for() -> None:
    """No mask, no known opcode, larger than any message: the library is asked at once what to answer."""
    assert frame_size(b"\x82") is None
    assert frame_size(b"\x82\x05") == 0
    assert frame_size(b"\x83\x85") == 0
    assert frame_size(b"\x82\xff" + (65_536).to_bytes(8, "big")) == 0
    assert frame_size(b"\x82\xff\x00") is None
    assert frame_size(b"\x89\x85") == 11


@given(pieces)
def test_one_message_is_taken_in_one_go_or_left(received: bytes) -> None:
    """Whole or cut anywhere in its header: what is found in one look is what is found in many."""
    for end in (*range(min(10, len(received))), len(received) - 1, len(received)):
        found = split(received[:end])
        whole = found.messages[0] if len(found.messages) == 1 and found.end == end else None
        assert only_message(received[:end]) == whole
