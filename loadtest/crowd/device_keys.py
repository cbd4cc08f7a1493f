"""What a device keeps to itself besides its Noise key, derived from that: no file of a crowd has to hold it as well."""

import base64
import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from loadtest.crowd.crowd import Seat
from varde_contract.ids import DeviceId

HOST: Final = "load.example"
"""Reserved (RFC 2606): no mail can ever arrive there."""
_IDS_BYTES: Final = 32
"""A token begins with the ids of account and session."""


def signing_key(noise_private: bytes) -> Ed25519PrivateKey:
    """Return the device's signing key: prekeys that it uploads are signed with it."""
    return Ed25519PrivateKey.from_private_bytes(_derive(noise_private, b"signing"))


def refresh_secret(noise_private: bytes) -> bytes:
    """Return the secret part of the refresh token that the device was seeded with, 32 bytes."""
    return _derive(noise_private, b"refresh")


def refresh_token(seat: Seat) -> str:
    """Return the refresh token that the seat was seeded with. It is good once: shown again, the session ends."""
    ids = base64.urlsafe_b64decode(seat.access_token + "==")[:_IDS_BYTES]
    return base64.urlsafe_b64encode(ids + refresh_secret(seat.noise_private)).rstrip(b"=").decode()


def address_of(device: DeviceId) -> str:
    """Return the e-mail address that the person with this device signs in with."""
    return f"{device.hex}@{HOST}"


def _derive(noise_private: bytes, what: bytes) -> bytes:
    return hmac.digest(noise_private, b"varde load: " + what, hashlib.sha256)
