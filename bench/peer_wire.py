"""What clients and the peer servers say to each other: enough for the same work that Varde does, and nothing more.

The client's first message is the hello; the server answers `READY`. From then on every message is sealed with
ChaCha20-Poly1305 under the key of its direction, with a counter as nonce::

    client -> server   number (8)  content (256)
    server -> others   "D"  member (4)  number (8)  content (256)
    server -> sender   "A"  number (8)
"""

import struct
from typing import Final

from msgspec import Struct

CONTENT_BYTES: Final = 256
TAG_BYTES: Final = 16
READY: Final = b"ready"
DELIVERY: Final = b"D"
ACK: Final = b"A"

_HELLO: Final = struct.Struct("!II32s32s")
_MEMBER: Final = struct.Struct("!I")
NUMBER: Final = struct.Struct("!Q")

MESSAGE_BYTES: Final = NUMBER.size + CONTENT_BYTES + TAG_BYTES
DELIVERY_BYTES: Final = 1 + _MEMBER.size + MESSAGE_BYTES
ACK_BYTES: Final = 1 + NUMBER.size + TAG_BYTES


class Hello(Struct, frozen=True):
    """Who comes, into which room, and the two keys: of what it sends and of what it receives."""

    room: int
    member: int
    sending: bytes
    receiving: bytes


def pack_hello(hello: Hello) -> bytes:
    """Return the client's first message."""
    return _HELLO.pack(hello.room, hello.member, hello.sending, hello.receiving)


def unpack_hello(message: bytes | memoryview) -> Hello:
    """Read the client's first message. Raises struct.error for another length."""
    return Hello(*_HELLO.unpack(message))


def delivery_of(member: int, plain: bytes) -> bytes:
    """Return what the others in the room are told."""
    return DELIVERY + _MEMBER.pack(member) + plain


def ack_of(plain: bytes) -> bytes:
    """Return what the sender is told."""
    return ACK + plain[: NUMBER.size]
