"""The cast: the same five people and seven devices in every test, with ids, keys and tokens that never change.

Alice has a laptop and a phone, Bob a phone and a laptop; Carol, Dave and Mallory have a phone each. Mallory is an
honest account with no business in the conversations of the others.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.people import model as people_model
from domain.people.ports import DeviceAddFault
from domain.ports import Stores
from domain.talk import model as talk
from domain.talk.ports import NewRoster
from varde_contract import signed_statements
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
        return _device(f"{self.name}_{name}", self.account, self.root, (self.privat.id, self.jobb.id))


async def settle(stores: Stores, *people: Person) -> None:
    """Store accounts, root keys, profiles and devices of these people, of the whole cast when none is named."""
    for person in people or PEOPLE:
        await stores.sign_in.account_of(person.address, person.account, BIRTH_MS)
        assert await stores.accounts.set_root_key(person.account, person.root_key)
        for profile in (person.privat, person.jobb):
            assert await stores.profiles.add(profile, MANY)
        for device in person.devices:
            await enrol(stores, device)


async def enrol(stores: Stores, device: CastDevice) -> None:
    """Store a session, the device bound to it, and its prekeys."""
    await stores.sessions.add(device.session)
    assert not isinstance(await stores.devices.add(device.model, device.session.id, most=MANY), DeviceAddFault)
    await stores.prekeys.upload(
        device.model.account, device.id, device.one_time_keys(), device.fallback_key(), most=ONE_TIME_KEYS
    )


async def open_conversation(
    stores: Stores, *people: Person, kind: ConversationKind = ConversationKind.GROUP
) -> ConversationId:
    """Open the conversation of these people's private modes; the first of a group owns it, a dm nobody."""
    roster = roster_of(*people, kind=kind)
    members = [(member.profile, member.account, member.role) for member in roster.members.values()]
    low, high = min(roster.members), max(roster.members)
    pair = None if kind is ConversationKind.GROUP else (low, high)
    opened, _ = await stores.conversations.open(NewRoster(roster.conversation, kind, members, pair, BIRTH_MS))
    return opened


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
    device = tuple(_device(f"{name}_{device}", account, root, (privat.id, jobb.id)) for device in devices)
    return Person(name, f"{name}@example.org", _seed("address", name), account, root, privat, jobb, device)


def _profile(name: str, account: AccountId, mode: ProfileType) -> people_model.Profile:
    return people_model.Profile(
        account, ProfileId(_uuid("profile", name, mode)), mode, Theme.SYSTEM, Policies(), BIRTH_MS
    )


def _device(name: str, account: AccountId, root: Ed25519PrivateKey, profiles: tuple[ProfileId, ...]) -> CastDevice:
    device = DeviceId(_uuid("device", name))
    noise = KeyPair.from_private(_seed("noise", name))
    signing = Ed25519PrivateKey.from_private_bytes(_seed("signing", name))
    keys = (noise.public, signing.public_key().public_bytes_raw(), _curve("identity", name))
    statement = signed_statements.device_statement(
        account, device, noise_key=keys[0], signing_key=keys[1], identity_key=keys[2]
    )
    model = people_model.Device(account, device, *keys, root.sign(statement), profiles, BIRTH_MS)
    return CastDevice(name, model, _session(name, account), noise, signing)


def _session(name: str, account: AccountId) -> people_model.Session:
    """Signed in, and bound to no device yet: `DeviceStore.add` does that."""
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
