"""The ciphers and hashes of Noise as two tables, over `cryptography`, `hashlib` and `hmac` (section 12).

Refuses to hold keys, nonces or state: those belong to the states that use these functions.
"""

import hashlib
import hmac
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
    """A hash function, with the HMAC and HKDF made from it (section 4.3)."""

    algorithm: str
    size: int
    new: Callable[[bytes], Running]

    def digest(self, content: bytes) -> bytes:
        """The hash of the content, `size` bytes."""
        return self.new(content).digest()

    def hkdf(self, chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
        """Two or three keys of `size` bytes each, from a chaining key and new key material."""
        extracted = hmac.digest(chaining_key, material, self.algorithm)
        keys = [b""]
        for number in range(1, outputs + 1):
            keys.append(hmac.digest(extracted, keys[-1] + bytes((number,)), self.algorithm))
        return keys[1:]


CIPHERS: Final = {
    "ChaChaPoly": Cipher(ChaCha20Poly1305, Struct("<4xQ").pack),
    "AESGCM": Cipher(AESGCM, Struct(">4xQ").pack),
}

HASHES: Final = {
    "SHA256": Hash("sha256", 32, hashlib.sha256),
    "SHA512": Hash("sha512", 64, hashlib.sha512),
    "BLAKE2s": Hash("blake2s", 32, hashlib.blake2s),
    "BLAKE2b": Hash("blake2b", 64, hashlib.blake2b),
}
