"""The keys of a device of the crowd, and what it signs with them: its prekeys, and the first device list."""

import hashlib
import hmac
import os
from collections.abc import Iterable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from varde_contract.device_list import DeviceList, ListedDevice, commitment, encode, sign_list, statement_to_sign
from varde_contract.ids import AccountId, DeviceId, ProfileId
from varde_contract.kem import KemKeyPair
from varde_contract.noise import KeyPair
from varde_contract.rest import people
from varde_contract.signed_statements import fallback_key_statement, one_time_key_statement

KEM_KEY: Final = KemKeyPair.generate().public
"""Of every prekey that is uploaded: nobody opens anything with it, and one for each would take as long as the rest."""


def derive_secret(noise_private: bytes, what: bytes) -> bytes:
    """Return 32 bytes that a device keeps to itself besides its Noise key: no file has to hold them as well."""
    return hmac.digest(noise_private, b"varde load: " + what, hashlib.sha256)


def signing_key(noise_private: bytes) -> Ed25519PrivateKey:
    """Return the device's signing key: prekeys that it uploads are signed with it."""
    return Ed25519PrivateKey.from_private_bytes(derive_secret(noise_private, b"signing"))


def draw_exchange_key(seed: bytes = b"") -> bytes:
    """Return a Curve25519 public key: always the same of a seed, a new one without."""
    private = hashlib.sha256(b"varde load: exchange " + seed).digest() if seed else os.urandom(32)
    return KeyPair.from_private(private).public


def signed_prekeys(device: DeviceId, signing: Ed25519PrivateKey, seeds: Iterable[bytes]) -> people.PrekeyUpload:
    """Return one-time keys of a device, one of each seed, and a new fallback key, under real signatures."""
    keys, fallback = map(draw_exchange_key, seeds), draw_exchange_key()
    statements = ((key, one_time_key_statement(device, key, KEM_KEY)) for key in keys)
    one_time = tuple(people.SignedKey(key, KEM_KEY, signing.sign(statement)) for key, statement in statements)
    signature = signing.sign(fallback_key_statement(device, fallback, KEM_KEY))
    return people.PrekeyUpload(one_time, people.SignedKey(fallback, KEM_KEY, signature))


def first_list(
    account: AccountId,
    device: DeviceId,
    keys: tuple[bytes, bytes, bytes],
    profile: tuple[ProfileId, bytes],
    signing: Ed25519PrivateKey,
    now_ms: int,
) -> tuple[DeviceList, bytes]:
    """Return an account's first device list, and the same with its signatures. Nobody keeps the root.

    It has one device, with its public `keys` (Noise, signing, identity), for one profile, given with its salt.
    """
    root = Ed25519PrivateKey.generate()
    listed = ListedDevice(device, *keys, (commitment(*profile),), manager=True)
    first = DeviceList(account, 1, None, root.public_key().public_bytes_raw(), (listed,), None, now_ms)
    statement = statement_to_sign(encode(first))
    return first, encode(sign_list(first, {device: signing.sign(statement)}, root.sign(statement)))
