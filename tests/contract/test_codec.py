"""One message of frames, packed and taken apart."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract import examples as x
from tests.contract.strategies import one_of
from varde_contract import codec
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.errors import LocalMisuse, PeerFault
from varde_contract.ids import ConversationId
from varde_contract.limits import CIPHERTEXT_BYTES, FRAMES_PER_MESSAGE, PLAINTEXT_BYTES

TYPING = codec.encode_frame(f.Typing(x.CONVERSATION, x.ALICE_PRIVAT, active=True))
DEEP = b"\x91" * 50_000 + b"\xc0"


def send_of(size: int) -> bytes:
    """Return an encoded `msg:send` of exactly `size` bytes, or as near as its length prefix lets it come."""
    for room in range(size - 100, size):
        encoded = codec.encode_frame(f.Send(x.CLIENT_ID, x.CONVERSATION, x.ALICE_PRIVAT, 1, group=b"x" * room))
        if len(encoded) == size:
            return encoded
    raise AssertionError(size)


@given(st.lists(one_of(x.CLIENT_KINDS), min_size=1, max_size=20))
def test_frames_keep_their_order(frames: list[f.ClientFrame]) -> None:
    """What is packed together comes out together, in order, also beyond the 15 of a short array header."""
    assert codec.decode_client_frames(codec.pack([codec.encode_frame(frame) for frame in frames])) == frames


@pytest.mark.parametrize("count", [1, 15, 16, FRAMES_PER_MESSAGE])
def test_as_many_frames_as_allowed_are_taken(count: int) -> None:
    """Up to 256 frames travel in one message."""
    packed = codec.pack([TYPING] * count)
    assert len(codec.decode_client_frames(packed)) == count
    assert codec.fits(len(TYPING) * count, count)


@pytest.mark.parametrize("count", [0, FRAMES_PER_MESSAGE + 1, 2**16])
def test_no_frame_or_too_many_are_our_bug_when_sent(count: int) -> None:
    """The sender never produces a message that the other side has to refuse."""
    assert not codec.fits(0, count)
    with pytest.raises(LocalMisuse):
        codec.pack([TYPING] * count)


@pytest.mark.parametrize("packed", [b"\x90", b"\xdc\x01\x01" + TYPING * 257], ids=["none", "one too many"])
def test_no_frame_or_too_many_are_the_peers_fault(packed: bytes) -> None:
    """An empty message and a message of 257 frames are refused."""
    with pytest.raises(PeerFault, match="no frame or too many"):
        codec.decode_client_frames(packed)


@pytest.mark.parametrize(("count", "header"), [(2, 1), (16, 3)])
def test_a_message_is_filled_to_the_last_byte(count: int, header: int) -> None:
    """65,519 bytes of frames with their header fit; one byte more does not, and `fits` knows it beforehand."""
    filling = [TYPING] * (count - 2) + [send_of(CIPHERTEXT_BYTES)]
    rest = PLAINTEXT_BYTES - header - sum(map(len, filling))
    assert len(codec.pack([*filling, send_of(rest)])) == PLAINTEXT_BYTES
    assert codec.fits(PLAINTEXT_BYTES - header, count)
    assert not codec.fits(PLAINTEXT_BYTES - header + 1, count)
    with pytest.raises(LocalMisuse, match="do not fit"):
        codec.pack([*filling, send_of(rest + 1)])


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc0",
        b"\x80",
        TYPING,
        b"\x91",
        b"\x91\x90",
        b"\x91\x91\xc0",
        b"\x91" + TYPING + b"\xc0",
        b"\x92" + TYPING,
        b"\xdd\xff\xff\xff\xff",
        b"\x91\xdd\xff\xff\xff\xff",
        b"\x91\xc6\xff\xff\xff\xff",
        b"\xc1",
        b"\x91\x92\xa6\xff\xff\xff\xff\xff\xff\xc0",
        DEEP,
    ],
    ids=lambda packed: packed[:12].hex() or "nothing",
)
def test_bytes_that_are_no_frames_are_the_peers_fault(packed: bytes) -> None:
    """Whatever is not an array of frames is refused by both sides, with nothing of it in the text."""
    array = r"(the message|frame \d of the message) is not an array (of( known)? frames|that begins with a tag)"
    for decode in (codec.decode_client_frames, codec.decode_server_frames):
        with pytest.raises(PeerFault, match=f"^{array}$") as refused:
            decode(packed)
        assert refused.value.close_code is CloseCode.PROTOCOL_ERROR
        assert refused.value.__suppress_context__


def test_where_a_message_is_no_array_of_frames_is_said() -> None:
    """The close reason is the word and the position, so that a client's author knows where to look."""
    with pytest.raises(PeerFault) as refused:
        codec.decode_client_frames(b"\x92" + TYPING + b"\xc0")
    told = "protocol-error: frame 1 of the message is not an array that begins with a tag"
    assert refused.value.close_reason == told


ID = b"\xc4\x10" + x.CONVERSATION.bytes
SEND = b"\xa8msg:send"


@pytest.mark.parametrize(
    ("frame", "about", "subject", "detail"),
    [
        (b"\x91\xa7unknown", "", None, "has a tag that this relay does not know"),
        (b"\x94\xa6typing\xd8\x01" + bytes(16) + ID + b"\xc3", "typing", None, "look at `conversation`"),
        (b"\x94\xa6typing\xc4\x0f" + bytes(15) + ID + b"\xc3", "typing", None, "look at `conversation`. An id is 16"),
        (b"\x94\xa6typing" + ID + ID + b"\x01", "typing", x.CONVERSATION, "look at `active`. Expected `bool`"),
        (b"\x93\xa8presence" + ID + b"\xa3sad", "presence", None, "look at `state`."),
        (b"\x93\xa8presence" + ID + b"\xa1\xff", "presence", None, "holds text that is not UTF-8"),
        (b"\x91" + SEND, "msg:send", None, "`client_id` is missing"),
        (b"\x93" + SEND + ID + ID, "msg:send", x.CONVERSATION, "`profile` is missing"),
        (
            b"\x95" + SEND + ID * 3 + b"\xff",
            "msg:send",
            x.CONVERSATION,
            "look at `roster_version`. Expected `int` >= 0",
        ),
        (b"\x96" + SEND + ID * 3 + b"\x01\xc4\x00", "msg:send", x.CONVERSATION, "look at `group`. Expected `bytes`"),
        (
            b"\x97" + SEND + ID * 3 + b"\x01\xc0\x81\xc4\x01\x00\xc4\x01\x00",
            "msg:send",
            x.CONVERSATION,
            "`devices[...]`",
        ),
        (
            b"\x98" + SEND + ID * 3 + b"\x01\xc0\xc0\xc0",
            "msg:send",
            x.CONVERSATION,
            "has more fields than this relay knows",
        ),
        (b"\x92\xa5probe\xc4\x11" + bytes(17), "probe", None, "look at `token`. Expected `bytes` of length <= 16"),
    ],
)
def test_a_bad_frame_spares_the_others(frame: bytes, about: str, subject: ConversationId | None, detail: str) -> None:
    """Of a frame that cannot be read the relay says which it is, which field it is, and what would be right."""
    before, refused, after = codec.decode_client_frames(b"\x93" + TYPING + frame + TYPING)
    assert before == after != refused
    assert isinstance(refused, f.MalformedFrame)
    assert (f.about_of(refused), f.subject_of(refused)) == (about, subject)
    assert refused.detail.startswith("Frame 1 of the message")
    assert detail in refused.detail
    assert not {"unknown", "sad"} & set(refused.detail.split())


def test_a_field_that_is_too_deep_to_skip_is_the_peers_fault() -> None:
    """A relay cannot exhaust its client's stack with nested arrays where a later version may have fields."""
    with pytest.raises(PeerFault):
        codec.decode_server_frames(b"\x91\x93\xa7lagging\x01" + DEEP)


@pytest.mark.parametrize(
    "payload", [b"", b"\xc0", b"\x93\x01\xa1t", b"\x93\x01\xa0\xc4\x10" + bytes(16), b"\x94\x01" + DEEP]
)
def test_a_hello_that_is_not_well_formed_fails_the_handshake(payload: bytes) -> None:
    """A broken Hello closes with 4108: neither the keys are to blame, nor an established connection."""
    with pytest.raises(PeerFault, match="Hello is not well-formed") as refused:
        codec.decode_hello(payload)
    assert refused.value.close_code is CloseCode.BAD_HELLO


def test_ids_are_sixteen_bytes_on_the_wire() -> None:
    """An id costs 18 bytes in a frame, not the 38 of its text: the map of a send to many devices depends on it."""
    encoded = codec.encode_frame(f.Send(x.CLIENT_ID, x.CONVERSATION, x.ALICE_PRIVAT, 1, devices={x.BOB_PHONE: b"s"}))
    for each in (x.CLIENT_ID, x.CONVERSATION, x.ALICE_PRIVAT, x.BOB_PHONE):
        assert b"\xc4\x10" + each.bytes in encoded
    assert isinstance(msgspec.msgpack.decode(encoded)[1], bytes)
