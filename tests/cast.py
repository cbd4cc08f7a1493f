"""The cast: the same five people and seven devices in every test, with ids, keys and tokens that never change.

Alice has a laptop and a phone, Bob a phone and a laptop; Carol, Dave and Mallory have a phone each. Mallory is an
honest account with no business in the conversations of the others.
"""

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from domain.people import model as people_model
from domain.people.device_lists import list_change
from domain.people.ports import ListFault
from domain.ports import Stores
from domain.talk import model as talk
from domain.talk.ports import ChainChange, NewRoster
from varde_contract import membership as chain
from varde_contract import signed_statements
from varde_contract.device_list import (
    DeviceList,
    ListedDevice,
    commitment,
    encode,
    list_hash,
    sign_list,
    statement_to_sign,
)
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, SessionId, uuid7
from varde_contract.kem import KemKeyPair
from varde_contract.noise import KeyPair
from varde_contract.people import Policies, ProfileType, Theme
from varde_contract.talk import ConversationKind, Role

BIRTH_MS: Final = 1_767_225_600_000
"""2026-01-01T00:00:00Z: when everything of the cast was made."""
FAR_MS: Final = 4_102_444_800_000
"""2100-01-01T00:00:00Z: when its tokens expire, so that they are good by any clock a test may use."""
ONE_TIME_KEYS: Final = 5
KEM_KEY = KemKeyPair.from_private(bytes(range(96))).public
"""Of every prekey: nobody of the cast opens anything with it."""
MANY: Final = 1_000


@dataclass(frozen=True, repr=False)
class CastDevice:
    """One device of the cast, with its private keys. `model` is what the server knows of it, `session` its sign-in.

    Nobody holds an Olm account for `model.identity_key`: tests of the client make their own.
    """

    name: str
    model: people_model.Device
    session: people_model.Session
    noise: KeyPair
    signing: Ed25519PrivateKey

    def __repr__(self) -> str:
        return self.name

    @property
    def id(self) -> DeviceId:
        """The device id."""
        return self.model.id

    @property
    def actor(self) -> people_model.Actor:
        """Who asks, when this device does."""
        return people_model.Actor(account=self.model.account, session=self.session.id, device=self.model.id)

    @property
    def access_token(self) -> str:
        """What the session's access digest is the digest of."""
        return _token(self.session, _seed("access", self.name))

    @property
    def refresh_token(self) -> str:
        """What the session's refresh digest is the digest of."""
        return _token(self.session, _seed("refresh", self.name))

    def one_time_keys(self, count: int = ONE_TIME_KEYS, *, start: int = 0) -> tuple[people_model.Prekey, ...]:
        """Signed Curve25519 keys: number `start` and the following, the same ones each time."""
        keys = (_curve("one-time", self.name, str(number)) for number in range(start, start + count))
        return tuple(
            people_model.Prekey(
                key, KEM_KEY, self.signing.sign(signed_statements.one_time_key_statement(self.id, key, KEM_KEY))
            )
            for key in keys
        )

    def fallback_key(self) -> people_model.Prekey:
        """The signed fallback key."""
        key = _curve("fallback", self.name)
        statement = signed_statements.fallback_key_statement(self.id, key, KEM_KEY)
        return people_model.Prekey(key, KEM_KEY, self.signing.sign(statement))


@dataclass(frozen=True, repr=False)
class Person:
    """One account with both modes. `address` is a digest for `SignInStore`; a server with a pepper makes another."""

    name: str
    email: str
    address: bytes
    account: AccountId
    root: Ed25519PrivateKey
    privat: people_model.Profile
    jobb: people_model.Profile
    devices: tuple[CastDevice, ...]

    def __repr__(self) -> str:
        return self.name

    @property
    def profile(self) -> ProfileId:
        """The private mode: whom others write to."""
        return self.privat.id

    @property
    def root_key(self) -> bytes:
        """The Ed25519 public key that signs the devices."""
        return self.root.public_key().public_bytes_raw()

    def further_device(self, name: str) -> CastDevice:
        """One more device, which `enrol` can add. It receives for both modes, as all of the cast do."""
        return _device(f"{self.name}_{name}", self.account, (self.privat.id, self.jobb.id))


async def settle(stores: Stores, *people: Person) -> None:
    """Store accounts, profiles, device lists and devices of these people, of the whole cast when none is named."""
    for person in people or PEOPLE:
        await stores.sign_in.account_of(person.address, person.account, BIRTH_MS)
        for profile in (person.privat, person.jobb):
            assert await stores.profiles.add(profile, MANY)
        for device in person.devices:
            await enrol(stores, device)


async def enrol(stores: Stores, device: CastDevice) -> Sequence[people_model.RosterChange]:
    """Store a session, the device bound to it, and its prekeys; return which rosters moved."""
    await stores.sessions.add(device.session)
    moves = await change_devices(stores, device.model.account, add=[device])
    assert await stores.devices.adopt(device.model.account, device.id, device.session.id) is None
    await stores.prekeys.upload(
        device.model.account, device.id, device.one_time_keys(), device.fallback_key(), most=ONE_TIME_KEYS
    )
    return moves


async def change_devices(
    stores: Stores,
    account: AccountId,
    *,
    add: Sequence[CastDevice] = (),
    revoke: Collection[DeviceId] = (),
    profiles: Mapping[DeviceId, Sequence[ProfileId]] | None = None,
    ends: Mapping[DeviceId, int | None] | None = None,
    now_ms: int = BIRTH_MS,
) -> Sequence[people_model.RosterChange]:
    """Store the account's next list, signed by its root key as a client would; return which rosters moved."""
    while True:
        change = await next_change(stores, account, add=add, revoke=revoke, profiles=profiles, ends=ends, now_ms=now_ms)
        moves = await stores.devices.apply(change)
        if not isinstance(moves, ListFault):
            return moves
        assert moves is ListFault.STALE


async def set_valid_until(stores: Stores, account: AccountId, device: DeviceId, end_ms: int | None) -> None:
    """Give a device another end."""
    await change_devices(stores, account, ends={device: end_ms})


async def revoke(
    stores: Stores, account: AccountId, device: DeviceId, now_ms: int
) -> Sequence[people_model.RosterChange]:
    """Take a device off its account's list; return which rosters moved."""
    return await change_devices(stores, account, revoke=[device], now_ms=now_ms)


async def set_profiles(
    stores: Stores, account: AccountId, device: DeviceId, profiles: Sequence[ProfileId], now_ms: int
) -> Sequence[people_model.RosterChange]:
    """Let a device receive for other profiles; return which rosters moved."""
    return await change_devices(stores, account, profiles={device: profiles}, now_ms=now_ms)


async def next_change(
    stores: Stores,
    account: AccountId,
    *,
    add: Sequence[CastDevice] = (),
    revoke: Collection[DeviceId] = (),
    profiles: Mapping[DeviceId, Sequence[ProfileId]] | None = None,
    ends: Mapping[DeviceId, int | None] | None = None,
    now_ms: int = BIRTH_MS,
    issued_ms: int = BIRTH_MS,
) -> people_model.ListChange:
    """What an honest account changes next."""
    (person,) = (each for each in PEOPLE if each.account == account)
    newest = await stores.devices.newest_list(account)
    # Not through the decoder: tests give an account more devices than the contract does.
    before = None if newest is None else _lists[newest.signed]
    wanted = {device: tuple(sorted(map(_commitment, own))) for device, own in (profiles or {}).items()}
    kept = [
        replace(
            listed,
            profiles=wanted.get(listed.device, listed.profiles),
            valid_until_ms=(ends or {}).get(listed.device, listed.valid_until_ms),
        )
        for listed in (() if before is None else before.devices)
        if listed.device not in revoke
    ]
    listed = sorted([*kept, *map(listed_device, add)], key=lambda each: each.device)
    fresh = DeviceList(
        account,
        1 if before is None else before.number + 1,
        None if before is None else list_hash(before),
        person.root_key,
        tuple(listed),
        None,
        issued_ms,
    )
    statement = statement_to_sign(encode(fresh))
    signatures = {device.id: device.signing.sign(statement) for device in add}
    signed = encode(sign_list(fresh, signatures, person.root.sign(statement)))
    _lists[signed] = fresh
    stored = people_model.StoredList(account, fresh.number, signed, list_hash(fresh))
    opened = {_commitment(own.id): own.id for each in PEOPLE for own in (each.privat, each.jobb)}
    return list_change(before, fresh, stored, opened, now_ms)


_lists: dict[bytes, DeviceList] = {}


def listed_device(device: CastDevice) -> ListedDevice:
    """How a device of the cast stands in a list: all are managers."""
    model = device.model
    commitments = tuple(sorted(map(_commitment, model.profiles)))
    return ListedDevice(
        model.id, model.noise_key, model.signing_key, model.identity_key, commitments, True, model.valid_until_ms
    )


def salt_of(profile: ProfileId) -> bytes:
    """The salt of a profile of the cast."""
    return _seed("salt", str(profile))


def _commitment(profile: ProfileId) -> bytes:
    return commitment(profile, salt_of(profile))


async def open_conversation(
    stores: Stores, *people: Person, kind: ConversationKind = ConversationKind.GROUP
) -> ConversationId:
    """Open the conversation of these people's private modes; the first of a group owns it, a dm nobody."""
    roster = roster_of(*people, kind=kind)
    members = {
        member.profile: chain.Member(member.account, member.role, accepted=True) for member in roster.members.values()
    }
    low, high = min(roster.members), max(roster.members)
    pair = None if kind is ConversationKind.GROUP else (low, high)
    opened, _ = await stores.conversations.open(NewRoster(roster.conversation, kind, members, pair, BIRTH_MS))
    return opened


async def put_member(
    stores: Stores,
    conversation: ConversationId,
    person: Person,
    role: Role = Role.MEMBER,
    *,
    profile: ProfileId | None = None,
    accepted: bool = True,
) -> people_model.RosterChange:
    """Make a profile of a person a member, or give it another role, without a statement that says so."""
    member = chain.Member(person.account, role, accepted=accepted)
    return await _change_members(stores, conversation, {profile or person.profile: member})


async def remove_member(
    stores: Stores, conversation: ConversationId, person: Person, *, profile: ProfileId | None = None
) -> people_model.RosterChange:
    """Make a profile of a person no member any more, without a statement that says so."""
    return await _change_members(stores, conversation, {profile or person.profile: None})


async def _change_members(
    stores: Stores, conversation: ConversationId, changes: Mapping[ProfileId, chain.Member | None]
) -> people_model.RosterChange:
    roster = (await stores.conversations.rosters([conversation]))[conversation]
    before = {
        profile: chain.Member(member.account, member.role, accepted=True) for profile, member in roster.members.items()
    }
    after = {profile: member for profile, member in {**before, **changes}.items() if member is not None}
    joining = frozenset(member.account for profile, member in after.items() if member.accepted)
    extended = await stores.conversations.extend(ChainChange(conversation, -1, after, (), b"", joining, None))
    assert extended is not None
    return people_model.RosterChange(conversation, extended.roster_version)


def roster_of(*people: Person, kind: ConversationKind = ConversationKind.GROUP, version: int = 1) -> talk.Roster:
    """The roster of these people's private modes with all their devices, for tests that need no store."""
    owner = None if kind is ConversationKind.DM else people[0]
    return talk.Roster(
        conversation=ConversationId(_uuid("conversation", kind, *(person.name for person in people))),
        kind=kind,
        version=version,
        members={person.profile: _member(person, owner=person is owner) for person in people},
        devices={device.id: frozenset({person.profile}) for person in people for device in person.devices},
    )


def _member(person: Person, *, owner: bool) -> talk.Member:
    allowed = person.privat.policies
    return talk.Member(
        profile=person.profile,
        account=person.account,
        role=Role.OWNER if owner else Role.MEMBER,
        from_seq=1,
        read_receipts=allowed.read_receipts,
        delivery_receipts=allowed.delivery_receipts,
        typing=allowed.typing,
        presence=allowed.presence,
    )


def _person(name: str, *devices: str) -> Person:
    account = AccountId(_uuid("account", name))
    root = Ed25519PrivateKey.from_private_bytes(_seed("root", name))
    privat, jobb = (_profile(name, account, mode) for mode in (ProfileType.PRIVAT, ProfileType.JOBB))
    device = tuple(_device(f"{name}_{device}", account, (privat.id, jobb.id)) for device in devices)
    return Person(name, f"{name}@example.org", _seed("address", name), account, root, privat, jobb, device)


def _profile(name: str, account: AccountId, mode: ProfileType) -> people_model.Profile:
    profile = ProfileId(_uuid("profile", name, mode))
    return people_model.Profile(account, profile, mode, Theme.SYSTEM, Policies(), BIRTH_MS, salt_of(profile))


def _device(name: str, account: AccountId, profiles: tuple[ProfileId, ...]) -> CastDevice:
    device = DeviceId(_uuid("device", name))
    noise = KeyPair.from_private(_seed("noise", name))
    signing = Ed25519PrivateKey.from_private_bytes(_seed("signing", name))
    keys = (noise.public, signing.public_key().public_bytes_raw(), _curve("identity", name))
    model = people_model.Device(account, device, *keys, tuple(sorted(profiles)), None, BIRTH_MS)
    return CastDevice(name, model, _session(name, account), noise, signing)


def _session(name: str, account: AccountId) -> people_model.Session:
    """Signed in, and bound to no device yet: `DeviceStore.adopt` does that."""
    return people_model.Session(
        account=account,
        id=SessionId(_uuid("session", name)),
        device=None,
        access_digest=hashlib.sha256(_seed("access", name)).digest(),
        access_expires_ms=FAR_MS,
        refresh_digest=hashlib.sha256(_seed("refresh", name)).digest(),
        refresh_expires_ms=FAR_MS,
        created_ms=BIRTH_MS,
        refreshed_ms=BIRTH_MS,
    )


def _token(session: people_model.Session, secret: bytes) -> str:
    return base64.urlsafe_b64encode(session.account.bytes + session.id.bytes + secret).rstrip(b"=").decode()


def _curve(*names: str) -> bytes:
    return KeyPair.from_private(_seed(*names)).public


def _seed(*names: str) -> bytes:
    return hashlib.sha256("/".join(("the cast of varde", *names)).encode()).digest()


def _uuid(*names: str) -> UUID:
    return uuid7(BIRTH_MS, _seed("id", *names)[:10])


alice: Final = _person("alice", "laptop", "phone")
bob: Final = _person("bob", "phone", "laptop")
carol: Final = _person("carol", "phone")
dave: Final = _person("dave", "phone")
mallory: Final = _person("mallory", "phone")
PEOPLE: Final = (alice, bob, carol, dave, mallory)

alice_laptop, alice_phone = alice.devices
bob_phone, bob_laptop = bob.devices
(carol_phone,), (dave_phone,), (mallory_phone,) = carol.devices, dave.devices, mallory.devices
