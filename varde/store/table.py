"""What every table of the store is made of: the database, one encoding, and encryption bound to the cell.

XChaCha20-Poly1305 with a random nonce; the associated data names table, column and row.
"""

import os
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from nacl import bindings
from nacl.exceptions import CryptoError

from varde.errors import StoreDamaged
from varde.store.database import Database
from varde_contract.ids import decode_binary_id

KEY_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_KEYBYTES
NONCE_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES

T = TypeVar("T")

_LABEL = "varde.v1 store"
_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


class Cell:
    """One column of one row. A value decrypts nowhere else, so nobody can exchange rows or columns in the file."""

    __slots__ = ("associated_data",)

    def __init__(self, table: str, column: str, *row: bytes | str | int) -> None:
        # msgpack writes lengths, so no two cells share their bytes.
        self.associated_data = msgspec.msgpack.encode((_LABEL, table, column, *row))


@dataclass(frozen=True, slots=True)
class StoreCipher:
    """Encrypts and decrypts under one 32-byte key."""

    _key: bytes = field(repr=False)

    def encrypt(self, cell: Cell, plaintext: bytes) -> bytes:
        """Return nonce and ciphertext. 192 random bits of nonce do not repeat (draft-irtf-cfrg-xchacha, 2.1)."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
            plaintext, cell.associated_data, nonce, self._key
        )

    def decrypt(self, cell: Cell, sealed: bytes) -> bytes:
        """Return the plaintext. Raises StoreDamaged for another key, another cell or a changed byte."""
        nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
                ciphertext, cell.associated_data, nonce, self._key
            )
        except (CryptoError, ValueError):
            raise StoreDamaged("a sealed value in the store does not open") from None


class Table:
    """One noun's rows. Changes happen inside `Store.transaction`."""

    def __init__(self, database: Database, cipher: StoreCipher) -> None:
        self._database = database
        self._cipher = cipher

    def _encrypt(self, cell: Cell, value: object) -> bytes:
        return self._cipher.encrypt(cell, _encoder.encode(value))

    def _decrypt(self, cell: Cell, sealed: bytes, kind: type[T]) -> T:
        try:
            return msgspec.msgpack.decode(self._cipher.decrypt(cell, sealed), type=kind, dec_hook=decode_binary_id)
        except msgspec.MsgspecError:
            raise StoreDamaged("a value in the store is not of the kind it should be") from None
