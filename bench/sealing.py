"""One direction of one connection to a peer server: a key and a counter, as a Noise transport has them."""

import struct
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from bench.peer_wire import TAG_BYTES

_nonce: Final = struct.Struct("<4xQ").pack
"""Four zero bytes and the counter, as in Noise revision 34, section 12.3."""


class Sealing:
    """Seals in the order of sending."""

    __slots__ = ("_count", "_encrypt")

    def __init__(self, key: bytes) -> None:
        self._encrypt = ChaCha20Poly1305(key).encrypt
        self._count = 0

    def seal(self, plain: bytes) -> bytes:
        """Return the sealed message, 16 bytes longer."""
        count = self._count
        self._count = count + 1
        return self._encrypt(_nonce(count), plain, None)


class Opening:
    """Opens in the order of receiving. Raises cryptography.exceptions.InvalidTag for anything else."""

    __slots__ = ("_count", "_decrypt")

    def __init__(self, key: bytes) -> None:
        self._decrypt = ChaCha20Poly1305(key).decrypt
        self._count = 0

    def open(self, sealed: bytes | memoryview) -> bytes:
        """Return the plaintext."""
        count = self._count
        self._count = count + 1
        return self._decrypt(_nonce(count), sealed, None)


class Unsealed:
    """Stands in for both where there is no encryption, with the same sizes: for the bare floor."""

    __slots__ = ()

    _NO_TAG: Final = bytes(TAG_BYTES)

    def seal(self, plain: bytes) -> bytes:
        """Return it with room for a tag."""
        return plain + self._NO_TAG

    def open(self, sealed: bytes | memoryview) -> bytes:
        """Return it without."""
        return bytes(sealed[:-TAG_BYTES])
