"""Keys that callers upload: real ones under real signatures, as the API checks."""

import hashlib
import os
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from varde_contract.ids import DeviceId
from varde_contract.noise import KeyPair
from varde_contract.rest.people import SignedKey
from varde_contract.signed_statements import fallback_key_statement, one_time_key_statement

KEY_BYTES: Final = 32


def draw_exchange_key(seed: bytes = b"") -> bytes:
    """Return a Curve25519 public key: always the same of a seed, a new one without."""
    private = hashlib.sha256(b"varde load: exchange " + seed).digest() if seed else os.urandom(KEY_BYTES)
    return KeyPair.from_private(private).public


def signed_one_time_key(device: DeviceId, signing: Ed25519PrivateKey, seed: bytes = b"") -> SignedKey:
    """Return a one-time key of a device."""
    key = draw_exchange_key(seed)
    return SignedKey(key, signing.sign(one_time_key_statement(device, key)))


def signed_fallback_key(device: DeviceId, signing: Ed25519PrivateKey) -> SignedKey:
    """Return a new fallback key of a device."""
    key = draw_exchange_key()
    return SignedKey(key, signing.sign(fallback_key_statement(device, key)))
