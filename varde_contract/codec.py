"""Frames to bytes and back: one msgpack array of frames is the content of one transport message."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar, get_args

import msgspec
from msgspec import Struct

from varde_contract.close_codes import CloseCode
from varde_contract.errors import LocalMisuse, PeerFault
from varde_contract.frames import ClientFrame, Hello, MalformedFrame, ReceivedFrame, ServerFrame, tag_of
from varde_contract.ids import Uuid7, decode_binary_id
from varde_contract.limits import FRAMES_PER_MESSAGE, PLAINTEXT_BYTES
from varde_contract.shape_faults import expectation_of, path_of

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_client_frame: msgspec.msgpack.Decoder[ClientFrame] = msgspec.msgpack.Decoder(ClientFrame, dec_hook=decode_binary_id)
_client_frames: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(list[ClientFrame], dec_hook=decode_binary_id)
_server_frames = msgspec.msgpack.Decoder(list[ServerFrame], dec_hook=decode_binary_id)
_raw_values = msgspec.msgpack.Decoder(list[msgspec.Raw])
_id = msgspec.msgpack.Decoder(Uuid7, dec_hook=decode_binary_id)
_text = msgspec.msgpack.Decoder(str)
_hello = msgspec.msgpack.Decoder(Hello, dec_hook=decode_binary_id)

_CLIENT_KINDS: Final[dict[str, type[Struct]]] = {tag_of(kind): kind for kind in get_args(ClientFrame)}
_NAME_A_SUBJECT = frozenset({"client_id", "conversation"})

ONE_FRAME = b"\x91"
"""What stands before a single frame: the header of a msgpack array of one."""

_FIXARRAY_MAX = 15
"""MessagePack: an array of so many elements has a head of one byte."""

# Deeply nested arrays in a field that is not known are skipped by recursion, which the interpreter bounds.
NOT_WELL_FORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Everything that msgspec raises for bytes it cannot read."""


def encode_frame(frame: Struct) -> bytes:
    """Encode one frame, to be packed: done once however many peers it goes to."""
    return _encoder.encode(frame)


def pack(encoded: Sequence[bytes]) -> bytes:
    """Put encoded frames behind a msgpack array header: the plaintext of one transport message.

    Raises LocalMisuse when the result does not fit a Noise message; `fits` tells beforehand.
    """
    count = len(encoded)
    if not 0 < count <= FRAMES_PER_MESSAGE:
        raise LocalMisuse(f"a message holds 1 to {FRAMES_PER_MESSAGE} frames")
    header = bytes((0x90 | count,)) if count <= _FIXARRAY_MAX else b"\xdc" + count.to_bytes(2, "big")
    packed = b"".join((header, *encoded))
    if len(packed) > PLAINTEXT_BYTES:
        raise LocalMisuse("the frames do not fit one Noise message")
    return packed


def fits(size: int, count: int) -> bool:
    """Whether `count` frames of `size` bytes together can be packed."""
    header = 1 if count <= _FIXARRAY_MAX else 3
    return 0 < count <= FRAMES_PER_MESSAGE and header + size <= PLAINTEXT_BYTES


def decode_client_frames(packed: bytes) -> list[ReceivedFrame]:
    """Decode what a client sent, with a MalformedFrame in the place of each frame that cannot be read.

    Raises PeerFault for what is no array of frames: then nobody knows what was meant.
    """
    try:
        frames: list[ReceivedFrame] = _client_frames.decode(packed)
    except NOT_WELL_FORMED:
        return _decode_each(packed)
    if len(frames) != 1:  # nearly all messages hold one, and a call costs as much as the look
        _check_count(frames)
    return frames


def decode_server_frames(packed: bytes) -> list[ServerFrame]:
    """Decode what a relay sent. Raises PeerFault."""
    return _decode(_server_frames, packed)


def encode_hello(hello: Hello) -> bytes:
    """Encode the payload of the client's last handshake message."""
    return _encoder.encode(hello)


def decode_hello(payload: bytes) -> Hello:
    """Decode the payload of the client's last handshake message. Raises PeerFault."""
    try:
        return _hello.decode(payload)
    except NOT_WELL_FORMED:
        raise PeerFault("Hello is not well-formed", CloseCode.BAD_HELLO) from None


def _decode(decoder: "msgspec.msgpack.Decoder[list[T]]", packed: bytes) -> list[T]:
    # The cause is cut off: msgspec's texts may repeat what was sent.
    try:
        frames = decoder.decode(packed)
    except NOT_WELL_FORMED:
        raise PeerFault("the message is not an array of known frames") from None
    _check_count(frames)
    return frames


def _check_count(frames: Sequence[object]) -> None:
    if not 0 < len(frames) <= FRAMES_PER_MESSAGE:
        raise PeerFault("the message holds no frame or too many")


def _decode_each(packed: bytes) -> list[ReceivedFrame]:
    # Only for a message that could not be decoded in one go: the usual one must not pay for the fault of another.
    try:
        frames = _raw_values.decode(packed)
    except NOT_WELL_FORMED:
        raise PeerFault("the message is not an array of frames") from None
    _check_count(frames)
    return [_decode_one(position, frame) for position, frame in enumerate(frames)]


def _decode_one(position: int, frame: bytes) -> ReceivedFrame:
    try:
        return _client_frame.decode(frame)
    except NOT_WELL_FORMED as error:
        fault = str(error)
    try:
        values = _raw_values.decode(frame)
        tag = _text.decode(values[0])
    except (*NOT_WELL_FORMED, IndexError):
        raise PeerFault(f"frame {position} of the message is not an array that begins with a tag") from None
    if tag not in _CLIENT_KINDS:
        return MalformedFrame("", None, f"Frame {position} of the message has a tag that this relay does not know.")
    names = _CLIENT_KINDS[tag].__struct_fields__
    subject = _read_id(values[1]) if names[0] in _NAME_A_SUBJECT and len(values) > 1 else None
    return MalformedFrame(tag, subject, f"Frame {position} of the message, `{tag}`, {_fault_of(fault, values, names)}")


def _fault_of(fault: str, values: Sequence[bytes], names: Sequence[str]) -> str:
    """Name the field. msgspec names its index in the array, or no field where one is missing or too many."""
    path = path_of(fault)
    if path:
        index, _, rest = path[1:].partition("]")
        return f"is malformed: look at `{names[int(index) - 1]}{rest}`.{expectation_of(fault)}"
    if len(values) > len(names) + 1:
        return "has more fields than this relay knows."
    if fault.startswith("Expected `array` of at least"):
        return f"is malformed: `{names[len(values) - 1]}` is missing."
    return "holds text that is not UTF-8."


def _read_id(value: bytes) -> Uuid7 | None:
    try:
        return _id.decode(value)
    except NOT_WELL_FORMED:
        return None
