"""The post-quantum KEMs: MLKEM768_X25519 for prekeys, ML-KEM-768 alone (FIPS 203) beside the relay's Noise handshake.

That of prekeys is X-Wing, as in HPKE (RFC 9180, draft-ietf-hpke-pq). Its public key is the one of ML-KEM-768 (1,184
bytes), then the one of X25519. `cryptography` has no bare encapsulation for the pair, so a random secret is sent by
HPKE: its `info` binds whatever the caller names.
"""

from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from nacl.bindings import randombytes

from varde_contract.close_codes import CloseCode
from varde_contract.errors import PeerFault
from varde_contract.public_keys import is_good_exchange_key
from varde_contract.signed_statements import KEM_KEY_BYTES

MLKEM_KEY_BYTES: Final = 1_184
MLKEM_CIPHERTEXT_BYTES: Final = 1_088
"""Both are of ML-KEM-768 (FIPS 203, table 3)."""
SECRET_BYTES: Final = 32
ENCAPSULATED_BYTES: Final = MLKEM_CIPHERTEXT_BYTES + 32 + SECRET_BYTES + 16
"""HPKE: the ciphertext of ML-KEM-768 and an X25519 key, then the secret with the tag that seals it."""
MLKEM_SEED_BYTES: Final = 64

_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


@dataclass(frozen=True, slots=True)
class KemKeyPair:
    """A KEM key pair. The private half is the seed of FIPS 203 (64 bytes), then the X25519 key."""

    _private: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """A fresh pair from the operating system's randomness."""
        return cls(randombytes(MLKEM_SEED_BYTES + 32))

    @classmethod
    def from_private(cls, private: bytes) -> Self:
        """The pair of 96 private bytes."""
        return cls(bytes(private))

    def private_bytes(self) -> bytes:
        """The secret bytes, for a sealed store and for nothing else."""
        return self._private

    @property
    def public(self) -> bytes:
        """The bytes to publish."""
        mlkem, x25519 = self._keys()
        return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    def decapsulate(self, encapsulated: bytes, info: bytes) -> bytes:
        """Return the secret that was encapsulated to this pair under the same `info`. Raises PeerFault."""
        if len(encapsulated) != ENCAPSULATED_BYTES:
            raise PeerFault("an encapsulated key has another length")
        try:
            return _SUITE.decrypt(encapsulated, MLKEM768X25519PrivateKey(*self._keys()), info)
        except (InvalidTag, ValueError):
            raise PeerFault("an encapsulated key was made for another key or purpose") from None

    def _keys(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        seed, private = self._private[:MLKEM_SEED_BYTES], self._private[MLKEM_SEED_BYTES:]
        return MLKEM768PrivateKey.from_seed_bytes(seed), X25519PrivateKey.from_private_bytes(private)


class MlKemKeyPair:
    """An ML-KEM-768 key pair, expanded once: a relay decapsulates at every handshake."""

    __slots__ = ("_private", "public")

    def __init__(self, seed: bytes) -> None:
        """Take the 64 bytes of FIPS 203, the only form in which the private half is kept."""
        self._private = MLKEM768PrivateKey.from_seed_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """A fresh pair."""
        return cls(randombytes(MLKEM_SEED_BYTES))

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the secret of 32 bytes. A ciphertext for another key gives another secret, not an error."""
        return self._private.decapsulate(ciphertext)


def encapsulate_mlkem(public: bytes) -> tuple[bytes, bytes]:
    """Return a fresh secret of 32 bytes, and what gives it to the owner of the key. Raises PeerFault for no key."""
    try:
        secret, ciphertext = MLKEM768PublicKey.from_public_bytes(public).encapsulate()
    except ValueError:
        raise PeerFault("this is no ML-KEM-768 key", CloseCode.HANDSHAKE_FAILED) from None
    return secret, ciphertext


def is_good_kem_key(key: bytes) -> bool:
    """Whether a KEM public key has its length, reduced coefficients (FIPS 203, 7.2), and a good X25519 key behind."""
    if len(key) != KEM_KEY_BYTES or not is_good_exchange_key(key[MLKEM_KEY_BYTES:]):
        return False
    try:
        MLKEM768PublicKey.from_public_bytes(key[:MLKEM_KEY_BYTES])
    except ValueError:
        return False
    return True


def encapsulate(key: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Return a fresh secret of 32 bytes, and what gives it to the owner of a good public key."""
    public = MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(key[:MLKEM_KEY_BYTES]),
        X25519PublicKey.from_public_bytes(key[MLKEM_KEY_BYTES:]),
    )
    secret = randombytes(SECRET_BYTES)
    return secret, _SUITE.encrypt(secret, public, info)
