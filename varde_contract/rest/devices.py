"""Devices and their prekeys."""

from typing import Annotated

from msgspec import Meta, Struct

from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId
from varde_contract.limits import DEVICES_PER_SEND, ONE_TIME_KEYS_PER_DEVICE, PROFILES_PER_ACCOUNT
from varde_contract.rest.fields import Instant, Key, Signature

Whitelist = Annotated[tuple[ProfileId, ...], Meta(min_length=1, max_length=PROFILES_PER_ACCOUNT)]


class Certificate(Struct, frozen=True):
    """A device's public keys under the signature of its account's root key (`varde_contract.certificates`)."""

    account: AccountId
    device: DeviceId
    noise_key: Key
    signing_key: Key
    identity_key: Key
    signature: Signature


class NewDevice(Struct, frozen=True, forbid_unknown_fields=True):
    """Register the device this session runs on. The client chooses the id, a UUIDv7, because it is signed."""

    device: DeviceId
    noise_key: Key
    signing_key: Key
    identity_key: Key
    signature: Signature
    profiles: Whitelist


class ProfileWhitelist(Struct, frozen=True, forbid_unknown_fields=True):
    """The profiles a device receives for. Replaces the list."""

    profiles: Whitelist


class DeviceProof(Struct, frozen=True, forbid_unknown_fields=True):
    """The device's signing key over this session and the device (`varde_contract.certificates.session_statement`)."""

    signature: Signature


class DeviceView(Struct, frozen=True):
    """One device, as its owner sees it."""

    certificate: Certificate
    profiles: tuple[ProfileId, ...]
    created_at: Instant
    current: bool


class Devices(Struct, frozen=True):
    """The devices of an account that are not revoked."""

    devices: tuple[DeviceView, ...]


class SignedKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A Curve25519 public key under the signature of the device's signing key."""

    key: Key
    signature: Signature


class PrekeyUpload(Struct, frozen=True, forbid_unknown_fields=True):
    """Add one-time keys and, when given, replace the fallback key."""

    one_time_keys: Annotated[tuple[SignedKey, ...], Meta(max_length=ONE_TIME_KEYS_PER_DEVICE)] = ()
    fallback_key: SignedKey | None = None


class PrekeyCount(Struct, frozen=True):
    """How many one-time keys the server still has, and whether there is a fallback key."""

    one_time_keys: int
    has_fallback: bool


class PrekeyClaim(Struct, frozen=True, forbid_unknown_fields=True):
    """Claim one key for each of these devices of the conversation's roster."""

    conversation: ConversationId
    devices: Annotated[tuple[DeviceId, ...], Meta(min_length=1, max_length=DEVICES_PER_SEND)]


class ClaimedKey(Struct, frozen=True):
    """One claimed key. A fallback key may be handed out more than once."""

    device: DeviceId
    key: SignedKey
    fallback: bool


class ClaimedKeys(Struct, frozen=True):
    """What could be claimed; `without` had no key left, not even a fallback key."""

    keys: tuple[ClaimedKey, ...]
    without: tuple[DeviceId, ...]
