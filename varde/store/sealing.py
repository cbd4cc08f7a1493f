"""The seal on every secret in the store: XChaCha20-Poly1305 with a random nonce, bound to the place it lies in."""

import os
from dataclasses import dataclass, field

import msgspec
from nacl import bindings
from nacl.exceptions import CryptoError

from varde.errors import StoreDamaged

KEY_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_KEYBYTES
NONCE_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES

_LABEL = "varde.v1 store"


class Place:
    """One column of one row: a sealed value opens nowhere else, so that rows and columns cannot be exchanged."""

    __slots__ = ("said",)

    def __init__(self, table: str, column: str, *row: bytes | str | int) -> None:
        # msgpack writes lengths, so no two places share their bytes.
        self.said = msgspec.msgpack.encode((_LABEL, table, column, *row))


@dataclass(frozen=True, slots=True)
class Seal:
    """Seals and opens under one 32-byte key."""

    _key: bytes = field(repr=False)

    def close(self, place: Place, plaintext: bytes) -> bytes:
        """Return nonce and ciphertext. 192 random bits of nonce never meet again (draft-irtf-cfrg-xchacha, 2.1)."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, place.said, nonce, self._key)

    def open(self, place: Place, sealed: bytes) -> bytes:
        """Return the plaintext. Raises StoreDamaged for another key, another place or a changed byte."""
        nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, place.said, nonce, self._key)
        except (CryptoError, ValueError):
            raise StoreDamaged("a sealed value in the store does not open") from None
