"""The types of the rules about people, as frozen Structs. Times are integer milliseconds of the Unix epoch."""

import hashlib

from msgspec import Struct

from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, SessionId
from varde_contract.people import Policies, ProfileType, Theme


class Actor(Struct, frozen=True):
    """Who asks: an authenticated session, and the device it is bound to."""

    account: AccountId
    session: SessionId
    device: DeviceId | None


class Account(Struct, frozen=True):
    """One person's account. `list_number` is that of its newest device list, 0 before the first."""

    id: AccountId
    created_ms: int
    list_number: int
    suspended: bool = False
    """By an operator: nobody signs in. Said at sign-in only; who asks otherwise has a session, and so is not."""


class OneTimeCode(Struct, frozen=True):
    """A code that was mailed, by its keyed digest; `attempts_left` as it was before the attempt that is being made."""

    code_digest: bytes
    expires_ms: int
    attempts_left: int


class Session(Struct, frozen=True):
    """A signed-in client. Digests are SHA-256 of the token secrets.

    `parent_digest` is of the refresh token whose use made the present tokens, `spent_digests` are of those before, the
    newest first. `used` says whether somebody has shown one of the present tokens: until then the answer that brought
    them may have been lost.
    """

    account: AccountId
    id: SessionId
    device: DeviceId | None
    access_digest: bytes
    access_expires_ms: int
    refresh_digest: bytes
    refresh_expires_ms: int
    created_ms: int
    refreshed_ms: int
    parent_digest: bytes | None = None
    spent_digests: tuple[bytes, ...] = ()
    used: bool = True


class Profile(Struct, frozen=True):
    """A mode of an account. The salt opens its commitment in device lists."""

    account: AccountId
    id: ProfileId
    type: ProfileType
    theme: Theme
    policies: Policies
    created_ms: int
    salt: bytes


class Device(Struct, frozen=True):
    """A device of the account's newest list: its public keys, and the profiles it receives for."""

    account: AccountId
    id: DeviceId
    noise_key: bytes
    signing_key: bytes
    identity_key: bytes
    profiles: tuple[ProfileId, ...]
    valid_until_ms: int | None
    created_ms: int


class StoredList(Struct, frozen=True):
    """A device list with its signatures, encoded; `hash` is that of the list, which the next one names."""

    account: AccountId
    number: int
    signed: bytes
    hash: bytes

    @property
    def digest(self) -> bytes:
        """What the transparency log holds of it."""
        return hashlib.sha256(self.signed).digest()


class ListChange(Struct, frozen=True):
    """A list that follows the newest one, and what it changes.

    Tickets of `voided` devices are void; those of revoked ones for ever. With `everywhere`, all rosters that the
    account is in move, otherwise only those of profiles that a device begins or ceases to receive for.
    """

    stored: StoredList
    added: tuple[Device, ...]
    changed: tuple[Device, ...]
    revoked: tuple[DeviceId, ...]
    voided: tuple[DeviceId, ...]
    everywhere: bool
    now_ms: int


class Expired(Struct, frozen=True):
    """Devices whose time was over, and the rosters that moved when they left them."""

    devices: tuple[DeviceId, ...]
    moves: tuple["RosterChange", ...]


class Revocation(Struct, frozen=True):
    """Tickets of `device` issued before `not_before_ms` are void; with `final`, all of them for ever."""

    device: DeviceId
    not_before_ms: int
    final: bool


class Prekey(Struct, frozen=True):
    """A prekey of a device: a Curve25519 and a KEM public key under one signature."""

    key: bytes
    kem_key: bytes
    signature: bytes


class ClaimedPrekey(Struct, frozen=True):
    """A prekey handed out, and how many one-time keys the device has left."""

    device: DeviceId
    prekey: Prekey
    fallback: bool
    left: int


class RosterChange(Struct, frozen=True):
    """A conversation whose roster version moved to `version`."""

    conversation: ConversationId
    version: int
