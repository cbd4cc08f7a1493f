"""The ciphers and hashes of Noise as two tables, over `cryptography` and `hashlib` (section 12)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Final, Protocol, TypeAlias

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

Octets: TypeAlias = bytes | bytearray | memoryview

CIPHER_KEY_BYTES: Final = 32
RESERVED_NONCE: Final = 2**64 - 1
"""Never used for a message: it belongs to rekeying (section 4.2)."""


class Aead(Protocol):
    """One cipher under one key. `decrypt` raises `cryptography.exceptions.InvalidTag`."""

    def encrypt(self, nonce: bytes, content: Octets, associated: bytes | None, /) -> bytes:
        """Ciphertext with its 16-byte tag at the end."""

    def decrypt(self, nonce: bytes, content: Octets, associated: bytes | None, /) -> bytes:
        """The plaintext, once the tag was found right."""


@dataclass(frozen=True, slots=True)
class Cipher:
    """A cipher function: how to key it, and how its 12-byte nonce is written from a 64-bit counter."""

    keyed: Callable[[bytes], Aead]
    pack_nonce: Callable[[int], bytes]

    def rekeyed(self, aead: Aead) -> Aead:
        """The same cipher under the key that follows (REKEY, section 4.2)."""
        stream = aead.encrypt(self.pack_nonce(RESERVED_NONCE), bytes(CIPHER_KEY_BYTES), None)
        return self.keyed(stream[:CIPHER_KEY_BYTES])


class Running(Protocol):
    """A hash object of `hashlib`."""

    def digest(self) -> bytes:
        """The hash of what went in."""


@dataclass(frozen=True, slots=True)
class Hash:
    """A hash function, with the HKDF made from it (section 4.3)."""

    size: int
    block: int
    new: Callable[[bytes], Running]

    def digest(self, content: bytes) -> bytes:
        """The hash of the content, `size` bytes."""
        return self.new(content).digest()

    def hkdf(self, chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
        """Two or three keys of `size` bytes each, from a chaining key and new key material."""
        # HMAC (RFC 2104) in place: `hmac` looks its algorithm up by name each time, which takes as long as hashing, and
        # there would be nobody to remember that all outputs have the same key. The tests hold it against `hmac`.
        new = self.new
        inner, outer = self._pads(chaining_key)
        inner, outer = self._pads(new(outer + new(inner + material).digest()).digest())
        keys, latest = [], b""
        for number in _NUMBERS[:outputs]:
            latest = new(outer + new(inner + latest + number).digest()).digest()
            keys.append(latest)
        return keys

    def _pads(self, key: bytes) -> tuple[bytes, bytes]:
        """The key, which is no longer than a block, as both hashes of HMAC begin with it."""
        inner, outer = _PADS[self.block]
        # Not by a table: where it is looked at would depend on the key.
        number = int.from_bytes(key, "little")
        return (number ^ inner).to_bytes(self.block, "little"), (number ^ outer).to_bytes(self.block, "little")


_NUMBERS: Final = (b"\1", b"\2", b"\3")
_PADS: Final = {
    block: (int.from_bytes(b"\x36" * block, "little"), int.from_bytes(b"\x5c" * block, "little")) for block in (64, 128)
}

CIPHERS: Final = {
    "ChaChaPoly": Cipher(ChaCha20Poly1305, Struct("<4xQ").pack),
    "AESGCM": Cipher(AESGCM, Struct(">4xQ").pack),
}

HASHES: Final = {
    "SHA256": Hash(32, 64, hashlib.sha256),
    "SHA512": Hash(64, 128, hashlib.sha512),
    "BLAKE2s": Hash(32, 64, hashlib.blake2s),
    "BLAKE2b": Hash(64, 128, hashlib.blake2b),
}
