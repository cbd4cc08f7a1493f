"""Frames to bytes and back: one msgpack array of frames is the content of one transport message."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from varde_contract.close_codes import CloseCode
from varde_contract.errors import LocalMisuse, PeerFault
from varde_contract.frames import ClientFrame, Hello, ServerFrame
from varde_contract.ids import decode_binary_id
from varde_contract.limits import FRAMES_PER_MESSAGE, PLAINTEXT_BYTES

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_client_frames = msgspec.msgpack.Decoder(list[ClientFrame], dec_hook=decode_binary_id)
_server_frames = msgspec.msgpack.Decoder(list[ServerFrame], dec_hook=decode_binary_id)
_hello = msgspec.msgpack.Decoder(Hello, dec_hook=decode_binary_id)

ONE_FRAME = b"\x91"
"""What stands before a single frame: the header of a msgpack array of one."""

_FIXARRAY_MAX = 15

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


def decode_client_frames(packed: bytes) -> list[ClientFrame]:
    """Decode what a client sent. Raises PeerFault."""
    return _decode(_client_frames, packed)


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
        raise PeerFault("Hello is not well-formed", CloseCode.HANDSHAKE_FAILED) from None


def _decode(decoder: "msgspec.msgpack.Decoder[list[T]]", packed: bytes) -> list[T]:
    # The cause is cut off: msgspec's texts may repeat what was sent.
    try:
        frames = decoder.decode(packed)
    except NOT_WELL_FORMED:
        raise PeerFault("the message is not an array of known frames") from None
    if not 0 < len(frames) <= FRAMES_PER_MESSAGE:
        raise PeerFault("the message holds no frame or too many")
    return frames
