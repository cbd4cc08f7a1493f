"""What a WebSocket takes from a peer that means harm, and what it says of its end."""

import pytest
from websockets.frames import Close, Frame, Opcode

from relay.metrics.labels import Hostility
from relay.socket.websocket import FRAGMENTS, SLOW_FRAMES, WebSocket
from varde_contract.limits import NOISE_MESSAGE_BYTES

READ: int = 65_536
PING = b"\x89\x80abcd"


def masked(opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame as a client writes it."""
    return Frame(opcode, data, fin).serialize(mask=True)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(PING * READ, id="pings"),
        pytest.param(masked(Opcode.PONG) * READ, id="pongs"),
        pytest.param((masked(Opcode.BINARY, fin=False) + masked(Opcode.CONT)) * READ, id="messages-of-two"),
        pytest.param((masked(Opcode.BINARY, b"m") + PING) * READ, id="pings-between-messages"),
    ],
)
def test_slow_frames_in_one_read_are_bounded(frames: bytes) -> None:
    """Each costs as much as several messages: so many, and the peer is told that it is too much."""
    websocket = WebSocket()
    websocket.feed(frames[:READ])
    assert (websocket.open, websocket.broken, websocket.ended_with) == (False, Hostility.FLOOD, 1008)
    assert websocket.pending <= (SLOW_FRAMES + 1) * 8 + 64


def test_slow_frames_that_were_paid_for_are_not_counted_again() -> None:
    """Whoever reads sets the count back, and a peer may send them for as long as it likes."""
    websocket = WebSocket()
    for _ in range(10):
        websocket.feed(PING * (SLOW_FRAMES // 2))
        assert websocket.slow_frames == SLOW_FRAMES // 2
        websocket.slow_frames = 0
    assert websocket.open


@pytest.mark.parametrize("cut", [1, 1_000, 65_541])
def test_a_large_frame_in_small_pieces_is_kept_once(cut: int) -> None:
    """Its bytes and no more wait for the rest, which comes whenever it comes."""
    websocket = WebSocket()
    frame = masked(Opcode.BINARY, bytes(NOISE_MESSAGE_BYTES))
    for begin in range(0, len(frame), cut):
        piece = frame[begin : begin + cut]
        websocket.feed(piece)
        assert len(websocket._rest or b"") in {0, begin + len(piece)}
    assert websocket.take_messages() == [bytes(NOISE_MESSAGE_BYTES)]
    assert websocket._rest is None


@pytest.mark.parametrize("size", [1 << 16, 1 << 30, 1 << 63, (1 << 64) - 1])
def test_a_giant_frame_is_refused_by_its_header(size: int) -> None:
    """Before a byte of it has come, and none is kept of what comes."""
    websocket = WebSocket()
    websocket.feed(b"\x82\xff" + size.to_bytes(8))
    assert (websocket.broken, websocket.ended_with) == (Hostility.GIANT_FRAME, 1009)
    websocket.feed(bytes(READ))
    assert websocket._rest is None
    assert websocket._protocol is not None
    assert len(websocket._protocol.reader.buffer) == 0


def test_a_peer_that_talks_on_after_the_close_is_not_waited_for() -> None:
    """Its close frame may come behind what was on its way; behind thousands of pings nobody looks for it."""
    patient, impatient = WebSocket(), WebSocket()
    for websocket in (patient, impatient):
        websocket.close(4000, "draining")
    patient.feed(PING * 1_000 + masked(Opcode.CLOSE, Close(4000, "").serialize()))
    assert patient.finished
    for _ in range(5):
        assert not impatient.finished
        impatient.feed(PING * (SLOW_FRAMES // 4))
    assert impatient.finished
    assert impatient.pending <= (SLOW_FRAMES + 1_000) * 8


GOODBYE = masked(Opcode.CLOSE, Close(1000, "").serialize())
BEGUN = masked(Opcode.BINARY, fin=False)

ENDS = [
    pytest.param(GOODBYE, None, 1000, id="goodbye"),
    pytest.param(masked(Opcode.CLOSE, Close(4101, "").serialize()), None, 4101, id="a-code-of-ours"),
    pytest.param(masked(Opcode.CLOSE), None, 1005, id="no-code"),
    pytest.param(b"", None, None, id="the-end-of-the-stream"),
    pytest.param(b"\x82\x80", None, None, id="the-end-in-a-frame"),
    pytest.param(BEGUN, None, None, id="the-end-in-a-message"),
    pytest.param(masked(Opcode.TEXT, b"x"), Hostility.BAD_FRAME, 1003, id="text"),
    pytest.param(b"\x82\x01x", Hostility.BAD_FRAME, 1002, id="unmasked"),
    pytest.param(b"\xc2\x80abcd", Hostility.RESERVED_BITS, 1002, id="compressed"),
    pytest.param(b"\xf9\x80abcd", Hostility.RESERVED_BITS, 1002, id="all-reserved-bits"),
    pytest.param(b"\x83\x80abcd", Hostility.BAD_FRAME, 1002, id="unknown-opcode"),
    pytest.param(masked(Opcode.CLOSE, b"\x03\xe8\xff"), Hostility.BAD_FRAME, 1007, id="a-reason-that-is-no-text"),
    pytest.param(BEGUN + GOODBYE, Hostility.BAD_FRAME, 1002, id="goodbye-in-a-message"),
    pytest.param(BEGUN + BEGUN, Hostility.BAD_FRAME, 1002, id="a-message-in-a-message"),
    pytest.param(BEGUN + masked(Opcode.CONT, fin=False) * FRAGMENTS, Hostility.FRAGMENTS, 1008, id="fragments"),
    pytest.param(masked(Opcode.BINARY, bytes(NOISE_MESSAGE_BYTES + 1)), Hostility.GIANT_FRAME, 1009, id="giant"),
]


@pytest.mark.parametrize(("sent", "broken", "code"), ENDS)
def test_it_says_how_it_ended(sent: bytes, broken: Hostility | None, code: int | None) -> None:
    """By the peer's own word, or by ours where it broke something, and what that was."""
    websocket = WebSocket()
    websocket.feed(sent)
    websocket.feed(b"")
    assert not websocket.open
    assert (websocket.broken, websocket.ended_with) == (broken, code)
