"""The ids on the wire: UUIDv7 (RFC 9562 section 5.7), one type per noun.

Refuses to read a clock or a random source: both come from the caller, so that a simulation can repeat itself.
"""

from typing import NewType
from uuid import UUID

AccountId = NewType("AccountId", UUID)
ProfileId = NewType("ProfileId", UUID)
DeviceId = NewType("DeviceId", UUID)
ConversationId = NewType("ConversationId", UUID)
MessageId = NewType("MessageId", UUID)
ClientId = NewType("ClientId", UUID)
SessionId = NewType("SessionId", UUID)

ENTROPY_BYTES = 10


def uuid7(now_ms: int, entropy: bytes) -> UUID:
    """Make a UUIDv7 from milliseconds since the Unix epoch and 10 random bytes.

    Raises ValueError when the entropy has another length or the time does not fit 48 bits.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"uuid7 takes {ENTROPY_BYTES} random bytes")
    raw = bytearray(now_ms.to_bytes(6, "big") + entropy)
    raw[6] = 0x70 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    return UUID(bytes=bytes(raw))
