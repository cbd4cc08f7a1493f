"""Field types that several bodies share."""

from datetime import datetime
from typing import Annotated, Any, TypeAlias

from msgspec import Meta

from varde_contract.device_list import SALT_BYTES
from varde_contract.frames import BASE64
from varde_contract.kem import MLKEM_KEY_BYTES
from varde_contract.signed_statements import KEM_KEY_BYTES, KEY_BYTES, SIGNATURE_BYTES


def base64_schema(most: int) -> dict[str, Any]:
    """Return the JSON Schema of base64 of at most so many bytes, where the length of the text does not say enough.

    The longest text has room for up to two bytes more than `most`, unless it ends with its padding.
    """
    padding = -most % 3
    if not padding:
        return BASE64
    unpadded = (most + padding) // 3 * 4 - padding
    return {"pattern": f"^(?![A-Za-z0-9+/]{{{unpadded + 1}}})" + BASE64["pattern"].removeprefix("^")}


Instant: TypeAlias = Annotated[datetime, Meta(tz=True, description="A time (RFC 3339), in UTC.")]
Key: TypeAlias = Annotated[
    bytes,
    Meta(
        min_length=KEY_BYTES,
        max_length=KEY_BYTES,
        description="32 bytes of public key, base64.",
        extra_json_schema={"pattern": "^[A-Za-z0-9+/]{43}=$"},
    ),
]
KemKey: TypeAlias = Annotated[
    bytes,
    Meta(
        min_length=KEM_KEY_BYTES,
        max_length=KEM_KEY_BYTES,
        description="1,216 bytes of MLKEM768_X25519 public key, base64.",
        extra_json_schema={"pattern": "^[A-Za-z0-9+/]{1622}==$"},
    ),
]
Salt: TypeAlias = Annotated[
    bytes,
    Meta(
        min_length=SALT_BYTES,
        max_length=SALT_BYTES,
        description="32 random bytes, base64.",
        extra_json_schema={"pattern": "^[A-Za-z0-9+/]{43}=$"},
    ),
]
RelayKemKey: TypeAlias = Annotated[
    bytes,
    Meta(
        min_length=MLKEM_KEY_BYTES,
        max_length=MLKEM_KEY_BYTES,
        description="1,184 bytes of ML-KEM-768 public key, base64.",
        extra_json_schema={"pattern": "^[A-Za-z0-9+/]{1579}=$"},
    ),
]
Signature: TypeAlias = Annotated[
    bytes,
    Meta(
        min_length=SIGNATURE_BYTES,
        max_length=SIGNATURE_BYTES,
        description="64 bytes of Ed25519 signature, base64.",
        extra_json_schema={"pattern": "^[A-Za-z0-9+/]{86}==$"},
    ),
]
# `$(?!\n)`: Python's `$` also matches before a line feed at the end; ECMAScript's does not. This is the same in both.
Token: TypeAlias = Annotated[
    str, Meta(min_length=86, max_length=86, pattern=r"^[A-Za-z0-9_-]{86}$(?!\n)", description="An opaque token.")
]
Email: TypeAlias = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=254,
        # No white space, no control, and none of the characters that would need quotes on a letter (RFC 5322, 3.2.3).
        pattern=r'^[^@\s()<>\[\]:;,\\"\x00-\x20\x7f]+@[^@\s()<>\[\]:;,\\"\x00-\x20\x7f]+$(?!\n)',
        description="An e-mail address. The server keeps only a keyed digest of it.",
    ),
]
OneTimeCode: TypeAlias = Annotated[
    str, Meta(min_length=6, max_length=10, pattern=r"^[0-9]{6,10}$(?!\n)", description="The code from the e-mail.")
]
