"""The payload of one message: ciphertext of the size that was asked for, with a stamp inside that says what it is."""

import os
import struct
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from varde_contract.envelope import ENVELOPE_VERSION, Cipher

_HEAD: Final = bytes((ENVELOPE_VERSION, Cipher.OLM))
"""What a nonce begins with: of random bytes, a relay would take one message in 256 for a membership statement."""
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_STAMP: Final = struct.Struct("!QIIIqq")
LEAST_BYTES: Final = _NONCE_BYTES + _STAMP.size + _TAG_BYTES  # the smallest payload: 64 bytes


class Stamp(NamedTuple):
    """What a payload says of itself. `seq` counts the messages of one sender in one room, from 1."""

    run: int
    sender: int
    room: int
    seq: int
    intended_ns: int
    sent_ns: int


class PayloadCipher:
    """Writes and reads payloads. `run` is a number of the run's own (64 bits): backlogs may hold another run's."""

    def __init__(self, key: bytes, run: int = 0) -> None:
        cipher = ChaCha20Poly1305(key)
        self._encrypt, self._decrypt = cipher.encrypt, cipher.decrypt
        self.run = run

    def write(self, sender: int, room: int, seq: int, intended_ns: int, sent_ns: int, size: int) -> bytes:
        """Return `size` bytes: nonce, encrypted stamp and filling, tag. ValueError below LEAST_BYTES."""
        if size < LEAST_BYTES:
            raise ValueError(f"a payload has at least {LEAST_BYTES} bytes")
        stamp = _STAMP.pack(self.run, sender, room, seq, intended_ns, sent_ns)
        nonce = _HEAD + os.urandom(_NONCE_BYTES - len(_HEAD))
        return nonce + self._encrypt(nonce, stamp + bytes(size - LEAST_BYTES), None)

    def read(self, ciphertext: bytes) -> Stamp | None:
        """Return the stamp, or None when one bit of the payload is not as it was written."""
        if len(ciphertext) < LEAST_BYTES:
            return None
        try:
            opened = self._decrypt(ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:], None)
        except InvalidTag:
            return None
        return Stamp._make(_STAMP.unpack_from(opened))
