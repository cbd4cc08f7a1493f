"""The bytes of Olm messages (Matrix specification, Olm, "Message format"), read strictly before vodozemac sees them.

vodozemac takes any encoding of a key and any order of fields. A prekey message with one flipped bit then opens once
more as another session, because the session id is a hash of the keys as they were written.
"""

import re
from typing import Final

from varde.crypto import CannotDecrypt
from varde.events import Reason
from varde_contract.envelope import Cipher
from varde_contract.public_keys import is_good_exchange_key

MAC_BYTES: Final = 8
"""Olm cuts its HMAC-SHA-256 to these. The outer layer has a tag of sixteen."""
_VARINT: Final = rb"((?:[\x80-\xff]{0,4}[\x01-\x7f])|\x00)"  # the shortest encoding of a number, and no other
# One-time key, base key, identity key and message; ratchet key, index and ciphertext. The version byte is 3.
_PREKEY: Final = re.compile(rb"\x03\n\x20(.{32})\x12\x20(.{32})\x1a\x20(.{32})\x22" + _VARINT + rb"(.*)", re.DOTALL)
_NORMAL: Final = re.compile(rb"\x03\n\x20(.{32})\x10" + _VARINT + rb"\x22" + _VARINT + rb"(.*)", re.DOTALL)


def check_olm_message(cipher: Cipher, message: bytes) -> None:
    """Check that a message is written the one way it can be, with good keys. Raises CannotDecrypt (malformed)."""
    keys: list[bytes] = []
    if cipher is Cipher.OLM_PREKEY:
        *keys, size, message = _match(_PREKEY, message)
        if _number(size) != len(message):
            raise CannotDecrypt(Reason.MALFORMED)
    ratchet_key, _, size, rest = _match(_NORMAL, message)
    if _number(size) + MAC_BYTES != len(rest) or not all(map(is_good_exchange_key, (*keys, ratchet_key))):
        raise CannotDecrypt(Reason.MALFORMED)


def _match(pattern: re.Pattern[bytes], message: bytes) -> tuple[bytes, ...]:
    found = pattern.fullmatch(message)
    if found is None:
        raise CannotDecrypt(Reason.MALFORMED)
    return found.groups()


def _number(varint: bytes) -> int:
    return sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(varint))
