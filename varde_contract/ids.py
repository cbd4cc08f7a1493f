"""The ids on the wire: UUIDv7 (RFC 9562 section 5.7), one type for each kind of thing, each with one spelling.

In msgpack an id is 16 bytes of bin; in JSON it is text of 36 characters in lower case. Whoever decodes a type that has
ids in it hands msgspec `decode_binary_id` or `decode_text_id` as `dec_hook`. It cannot be forgotten: without a hook
msgspec refuses every id.
"""

import re
from typing import TYPE_CHECKING, Any, Final, NewType, TypeAlias
from uuid import UUID

if TYPE_CHECKING:
    # For the type checker an id is any UUID: the database and the tests make plain ones.
    Uuid7: TypeAlias = UUID
else:

    class Uuid7(UUID):
        """A UUID that was decoded. It is a class of its own because msgspec reads a plain UUID in every spelling."""

        __slots__ = ()
        # `UUID.__init__` takes 1 us, and for each message a relay makes one id and decodes three. Here they are made of
        # numbers, with `_set_int`.
        __init__ = object.__init__

        def __reduce__(self) -> tuple[type[UUID], tuple[str]]:
            """Pickle as a plain UUID: `is_safe` is never set here, which saves a tenth of the decoding."""
            return UUID, (self.hex,)


# UUIDv7 and not v4: rows that are made together lie together in an index, and a page by id is a page by age.
# Because no other version passes, no id is a sentinel: the id of all zeros once stood for everybody in a group.
AccountId = NewType("AccountId", Uuid7)
ProfileId = NewType("ProfileId", Uuid7)
DeviceId = NewType("DeviceId", Uuid7)
ConversationId = NewType("ConversationId", Uuid7)
MessageId = NewType("MessageId", Uuid7)
ClientId = NewType("ClientId", Uuid7)
SessionId = NewType("SessionId", Uuid7)
EpochId = NewType("EpochId", Uuid7)
SpaceId = NewType("SpaceId", Uuid7)
LinkId = NewType("LinkId", Uuid7)

ID_PATTERN: Final = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
"""An id as text."""

ID_BYTES = 16
ENTROPY_BYTES = 10
"""All that is not the time. Six of their bits become version and variant."""

_TIME_END = 1 << 48
_VERSION = 0x7 << 76 | 0b10 << 62
_FIXED_BITS = 0xF << 76 | 0b11 << 62
_RANDOM = (1 << 80) - 1 & ~_FIXED_BITS
"""The bits below the time that are neither version nor variant."""


def uuid7(now_ms: int, entropy: bytes) -> UUID:
    """Make a UUIDv7 from milliseconds since the Unix epoch and 10 random bytes.

    Raises ValueError when the entropy has another length, OverflowError when the time does not fit 48 bits.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"uuid7 takes {ENTROPY_BYTES} random bytes")
    if not 0 <= now_ms < _TIME_END:
        raise OverflowError("uuid7 takes a time of 48 bits")
    made: UUID = Uuid7()
    _set_int(made, now_ms << 80 | _VERSION | _from_bytes(entropy, "big") & _RANDOM)
    return made


_from_bytes = int.from_bytes
_set_int = UUID.__dict__["int"].__set__
_text = re.compile(ID_PATTERN)


# Decoding `msg:send` takes 1.7 us with this hook instead of 0.6, of 40 that the relay spends on a message. Looking at
# ids after the decoding took twice as long, and could not tell text from bytes.
def decode_binary_id(_: type, value: Any) -> UUID:
    """Decode an id in msgpack: the `dec_hook` of msgspec. Raises ValueError for anything but 16 bytes of a UUIDv7."""
    if type(value) is not bytes or len(value) != ID_BYTES:
        raise ValueError("an id is 16 bytes")
    number = _from_bytes(value, "big")
    if number & _FIXED_BITS != _VERSION:
        raise ValueError("an id is a UUIDv7")
    made: UUID = Uuid7()
    _set_int(made, number)
    return made


def decode_text_id(_: type, value: Any) -> UUID:
    """Decode an id in JSON: the `dec_hook` of msgspec. Raises ValueError for anything but `ID_PATTERN`."""
    if type(value) is not str or _text.fullmatch(value) is None:
        raise ValueError("an id is a UUIDv7, in lower case with hyphens")
    made: UUID = Uuid7()
    _set_int(made, int(value.replace("-", ""), 16))
    return made


def id_schema(_: type) -> dict[str, Any]:
    """Describe an id: the `schema_hook` of msgspec."""
    return {"type": "string", "format": "uuid", "pattern": f"^{ID_PATTERN}$"}
