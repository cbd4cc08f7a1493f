"""The ids on the wire: UUIDv7 (RFC 9562 section 5.7), one type for each kind of thing."""

from typing import NewType
from uuid import UUID

# UUIDv7 and not v4: rows that are made together lie together in an index, and a page by id is a page by age.
AccountId = NewType("AccountId", UUID)
ProfileId = NewType("ProfileId", UUID)
DeviceId = NewType("DeviceId", UUID)
ConversationId = NewType("ConversationId", UUID)
MessageId = NewType("MessageId", UUID)
ClientId = NewType("ClientId", UUID)
SessionId = NewType("SessionId", UUID)

ENTROPY_BYTES = 10

_TIME_END = 1 << 48
_VERSION = 0x7 << 76 | 0b10 << 62
_RANDOM = (1 << 80) - 1 & ~(0xF << 76 | 0b11 << 62)
"""The bits below the time that are neither version nor variant."""


def uuid7(now_ms: int, entropy: bytes) -> UUID:
    """Make a UUIDv7 from milliseconds since the Unix epoch and 10 random bytes.

    Raises ValueError when the entropy has another length, OverflowError when the time does not fit 48 bits.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"uuid7 takes {ENTROPY_BYTES} random bytes")
    if not 0 <= now_ms < _TIME_END:
        raise OverflowError("uuid7 takes a time of 48 bits")
    random = int.from_bytes(entropy)
    return UUID(int=now_ms << 80 | _VERSION | random & _RANDOM)
