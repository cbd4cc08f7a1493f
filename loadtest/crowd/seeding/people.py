"""People drawn from the system's entropy: accounts with a profile, and a device whose certificate holds."""

import os
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.people.model import Device, Prekey
from domain.people.tickets import TicketIssuer
from domain.people.tokens import SECRET_BYTES, Token
from loadtest.crowd.device_keys import refresh_secret, signing_key
from varde_contract.ids import ENTROPY_BYTES, AccountId, ConversationId, DeviceId, ProfileId, SessionId, uuid7
from varde_contract.noise import KeyPair
from varde_contract.secret_struct import SecretStruct
from varde_contract.signed_statements import device_statement, fallback_key_statement, one_time_key_statement

KEY_BYTES: Final = 32


class Person(SecretStruct, frozen=True):
    """One account with one profile and one device that is signed in."""

    root_key: bytes
    profile: ProfileId
    device: Device
    noise: KeyPair
    access: Token
    refresh: Token
    one_time: tuple[Prekey, ...]
    fallback: Prekey
    ticket: str
    tickets_expire_ms: int
    discreet: bool
    """Whether nobody is told what it holds and has read, that it writes, and that it is there."""


def draw_conversation(now_ms: int) -> ConversationId:
    """Return a new id."""
    return ConversationId(uuid7(now_ms, os.urandom(ENTROPY_BYTES)))


def draw_person(issuer: TicketIssuer, now_ms: int, *, prekeys: int, discreet: bool) -> Person:
    """Return somebody new, with so many one-time keys."""
    account, session = (uuid7(now_ms, os.urandom(ENTROPY_BYTES)) for _ in range(2))
    noise_private = os.urandom(KEY_BYTES)
    root, signing = Ed25519PrivateKey.generate(), signing_key(noise_private)
    noise = KeyPair.from_private(noise_private)
    device = _draw_device(AccountId(account), root, signing, noise, now_ms)
    issued = issuer.issue(device, read_ms=now_ms)
    one_time = tuple(_draw_prekey(device.id, signing) for _ in range(prekeys))
    fallback = _exchange_key()
    return Person(
        root_key=root.public_key().public_bytes_raw(),
        profile=device.profiles[0],
        device=device,
        noise=noise,
        access=Token(AccountId(account), SessionId(session), os.urandom(SECRET_BYTES)),
        refresh=Token(AccountId(account), SessionId(session), refresh_secret(noise_private)),
        one_time=one_time,
        fallback=Prekey(fallback, signing.sign(fallback_key_statement(device.id, fallback))),
        ticket=issued.text,
        tickets_expire_ms=issued.expires_ms,
        discreet=discreet,
    )


def _draw_device(
    account: AccountId, root: Ed25519PrivateKey, signing: Ed25519PrivateKey, noise: KeyPair, now_ms: int
) -> Device:
    device, profile = (uuid7(now_ms, os.urandom(ENTROPY_BYTES)) for _ in range(2))
    signing_public, identity = signing.public_key().public_bytes_raw(), _exchange_key()
    statement = device_statement(
        account, DeviceId(device), noise_key=noise.public, signing_key=signing_public, identity_key=identity
    )
    keys = (noise.public, signing_public, identity)
    return Device(account, DeviceId(device), *keys, root.sign(statement), (ProfileId(profile),), created_ms=now_ms)


def _draw_prekey(device: DeviceId, signing: Ed25519PrivateKey) -> Prekey:
    key = _exchange_key()
    return Prekey(key, signing.sign(one_time_key_statement(device, key)))


def _exchange_key() -> bytes:
    """A Curve25519 public key. Nobody holds the private half: payloads of a run are sealed otherwise."""
    return KeyPair.from_private(os.urandom(KEY_BYTES)).public
