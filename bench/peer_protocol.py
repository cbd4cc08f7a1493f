"""The protocol of the peer servers: enough for the same work that Varde does, and nothing more.

A client's first message is the hello; the server answers `READY`. From then on every message is encrypted with
ChaCha20-Poly1305 under the key of its direction, with a counter as nonce::

    client -> server   number (8)  content (256)
    server -> others   "D"  member (4)  number (8)  content (256)
    server -> sender   "A"  number (8)
"""

import struct
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

CONTENT_BYTES: Final = 256
TAG_BYTES: Final = 16
READY: Final = b"ready"
DELIVERY: Final = b"D"
ACK: Final = b"A"
NUMBER: Final = struct.Struct("!Q")
HELLO: Final = struct.Struct("!II32s32s")  # room, member, and the keys of what the member sends and receives
MEMBER: Final = struct.Struct("!I")

MESSAGE_BYTES: Final = NUMBER.size + CONTENT_BYTES + TAG_BYTES
DELIVERY_BYTES: Final = 1 + MEMBER.size + NUMBER.size + CONTENT_BYTES + TAG_BYTES
ACK_BYTES: Final = 1 + NUMBER.size + TAG_BYTES

_nonce: Final = struct.Struct("<4xQ").pack  # four zero bytes and the counter, as in Noise revision 34, section 12.3


class Cipher:
    """One direction of one connection, as a Noise transport has it: a key, and a counter in the order of the wire."""

    __slots__ = ("_aead", "_count")

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._count = 0

    def encrypt(self, plain: bytes) -> bytes:
        """Return the ciphertext, 16 bytes longer."""
        count = self._count
        self._count = count + 1
        return self._aead.encrypt(_nonce(count), plain, None)

    def decrypt(self, ciphertext: bytes | memoryview) -> bytes:
        """Return the plaintext. Raises cryptography.exceptions.InvalidTag."""
        count = self._count
        self._count = count + 1
        return self._aead.decrypt(_nonce(count), ciphertext, None)


class NoCipher:
    """Stands in where nothing is encrypted, with the same sizes: for the floor."""

    __slots__ = ()

    def encrypt(self, plain: bytes) -> bytes:
        """Return it with room for a tag."""
        return plain + bytes(TAG_BYTES)

    def decrypt(self, ciphertext: bytes | memoryview) -> bytes:
        """Return it without."""
        return bytes(ciphertext[:-TAG_BYTES])
