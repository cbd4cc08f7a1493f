"""Accounts, sign-in and sessions, profiles, devices and prekeys, and what a device needs to reach the relay."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from varde_contract.device_list import DEVICE_LIST_BYTES
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, SessionId, id_schema
from varde_contract.limits import DEVICES_PER_SEND, ONE_TIME_KEYS_PER_DEVICE, PROFILES_PER_ACCOUNT
from varde_contract.people import Policies, ProfileType, Theme
from varde_contract.rest.fields import (
    Email,
    Instant,
    KemKey,
    Key,
    OneTimeCode,
    RelayKemKey,
    Salt,
    Signature,
    Token,
    base64_schema,
)
from varde_contract.secret_struct import SecretStruct
from varde_contract.user_names import TYPED_CHARACTERS


class AccountView(Struct, frozen=True):
    """The account, as its owner sees it."""

    account: AccountId
    created_at: Instant
    list_number: Annotated[int, Meta(description="The number of the newest device list, 0 before the first.")]


class CodeRequest(SecretStruct, frozen=True, forbid_unknown_fields=True):
    """Ask for a one-time code by e-mail."""

    email: Email


class CodeSent(Struct, frozen=True):
    """Always the same answer, whether or not there is an account."""

    expires_in_s: int


class SignIn(SecretStruct, frozen=True, forbid_unknown_fields=True):
    """Trade a code for a session. The first sign-in of an address makes the account."""

    email: Email
    code: OneTimeCode


class Refresh(SecretStruct, frozen=True, forbid_unknown_fields=True):
    """Trade a refresh token for new tokens. Each works once, and again within a minute if the answer was lost."""

    refresh_token: Token


class SessionTokens(SecretStruct, frozen=True):
    """The tokens of a session. `new_account` is true when this sign-in made the account."""

    account: AccountId
    session: SessionId
    access_token: Token
    access_expires_at: Instant
    refresh_token: Token
    refresh_expires_at: Instant
    new_account: bool = False


class SessionView(Struct, frozen=True):
    """One session, as its owner sees it."""

    session: SessionId
    device: DeviceId | None
    created_at: Instant
    refreshed_at: Instant
    current: bool


class Sessions(Struct, frozen=True):
    """The live sessions of an account."""

    sessions: tuple[SessionView, ...]


class NewProfile(Struct, frozen=True, forbid_unknown_fields=True):
    """Make a profile. The client makes the salt, 32 random bytes: it opens the profile's commitment in device lists."""

    type: ProfileType
    salt: Salt
    theme: Theme = Theme.SYSTEM
    policies: Policies = Policies()


class ProfileUpdate(Struct, frozen=True, forbid_unknown_fields=True):
    """Replace what can change of a profile."""

    theme: Theme
    policies: Policies


class ProfileView(Struct, frozen=True):
    """One profile, as its owner sees it. Its id is the address others write to."""

    profile: ProfileId
    type: ProfileType
    theme: Theme
    policies: Policies
    created_at: Instant
    salt: Salt


class ProfileOpening(Struct, frozen=True):
    """Whose a profile is. The salt shows it in the account's device lists (`device_list.commitment`)."""

    profile: ProfileId
    account: AccountId
    salt: Salt
    list_number: int


class ProfileOwner(Struct, frozen=True):
    """Whose a profile is: what is needed to invite it."""

    profile: ProfileId
    account: AccountId
    root_key: Key


UserName: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=TYPED_CHARACTERS,
        description="A user name as it was typed. The server keeps only a keyed digest of it.",
    ),
]


class NewUserName(SecretStruct, frozen=True, forbid_unknown_fields=True):
    """Let a profile be found by this name."""

    name: UserName


class UserNameQuery(SecretStruct, frozen=True, forbid_unknown_fields=True):
    """Ask whose name it is. Only a whole name is found."""

    name: UserName


class FoundProfile(Struct, frozen=True):
    """Whose user name it is, by the server's word: compare safety numbers."""

    profile: ProfileId


class Profiles(Struct, frozen=True):
    """The profiles of an account."""

    profiles: tuple[ProfileView, ...]


LISTS_PUT_BACK = 16
"""In one request: encoded, the longest fill half of what a body may have."""
SignedList: TypeAlias = Annotated[
    bytes,
    Meta(
        min_length=1,
        max_length=DEVICE_LIST_BYTES,
        description="A signed device list in its one encoding (msgpack, `device_list.SignedDeviceList`), base64.",
        extra_json_schema=base64_schema(DEVICE_LIST_BYTES),
    ),
]


class NewDeviceList(Struct, frozen=True, forbid_unknown_fields=True):
    """The account's next device list: adds, changes and revokes devices, and sets or replaces the root key."""

    list: SignedList


class LostDeviceLists(Struct, frozen=True, forbid_unknown_fields=True):
    """Device lists of an account that the server has lost, in their order, and the salts that open their profiles."""

    lists: Annotated[tuple[SignedList, ...], Meta(min_length=1, max_length=LISTS_PUT_BACK)]
    openings: Annotated[
        dict[ProfileId, Salt],
        Meta(max_length=PROFILES_PER_ACCOUNT, extra_json_schema={"propertyNames": id_schema(ProfileId)}),
    ]


class DeviceListView(Struct, frozen=True):
    """One device list of an account."""

    number: int
    list: SignedList


class DeviceLists(Struct, frozen=True):
    """Device lists in their order. There may be more: ask from the number after the last one, until none comes."""

    lists: tuple[DeviceListView, ...]


class DeviceProof(Struct, frozen=True, forbid_unknown_fields=True):
    """The device's signature over the session and its own id: `signed_statements.session_statement`."""

    signature: Signature


class DeviceView(Struct, frozen=True):
    """One device, as its owner sees it. Its keys are in the device list."""

    device: DeviceId
    profiles: tuple[ProfileId, ...]
    valid_until: Instant | None
    created_at: Instant
    current: bool


class Devices(Struct, frozen=True):
    """The devices of an account that are not revoked."""

    devices: tuple[DeviceView, ...]


class SignedKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A prekey: a Curve25519 and a post-quantum public key under one signature of the device's signing key."""

    key: Key
    kem_key: KemKey
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


class RelayAddress(Struct, frozen=True):
    """Where the relay listens, the Noise static key it shows, and the ML-KEM-768 key for post-quantum handshakes."""

    url: str
    static_key: Key
    kem_key: RelayKemKey


class RelayTicket(SecretStruct, frozen=True):
    """A ticket for the session's device, bound to its Noise key.

    `route` is a hint for load balancers: clients add it to the relay's URL as `?route=`. It is the same for a device
    each time, shared by many devices, and means nothing to the relay.
    """

    ticket: str
    expires_at: Instant
    route: str = ""
