"""Chains of membership statements, signed by whoever a test says."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.cast import PEOPLE, CastDevice, Person
from varde_contract import membership as m
from varde_contract import membership_statements as s
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, uuid7
from varde_contract.refusals import RefusalCode
from varde_contract.talk import ConversationKind, Role

NOW_MS = 1_767_225_600_000
CONVERSATION = ConversationId(UUID("019b76da-a800-7000-8000-0000000000c0"))


@dataclass(frozen=True)
class ChainSigner:
    """Somebody with one device, made from a name alone."""

    name: str
    list_number: int = 1

    @property
    def account(self) -> AccountId:
        """The account id."""
        return AccountId(self._id("account"))

    @property
    def profile(self) -> ProfileId:
        """The profile id."""
        return ProfileId(self._id("profile"))

    @property
    def device(self) -> DeviceId:
        """The device id."""
        return DeviceId(self._id("device"))

    @property
    def key(self) -> Ed25519PrivateKey:
        """The device's signing key."""
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"key {self.name}".encode()).digest())

    @property
    def signer(self) -> m.Signer:
        """What stands of it in a statement."""
        return m.Signer(self.account, self.profile, self.device, self.list_number)

    def _id(self, kind: str) -> UUID:
        return uuid7(NOW_MS, hashlib.sha256(f"{kind} {self.name}".encode()).digest()[:10])


class SignsStatements(Protocol):
    """Who can be the author of a statement."""

    @property
    def signer(self) -> m.Signer:
        """What stands of it in a statement."""

    @property
    def key(self) -> "SigningKey":
        """The device's signing key."""


class SigningKey(Protocol):
    """An Ed25519 key, or what has one."""

    def sign(self, data: bytes, /) -> bytes:
        """Sign."""


@dataclass(frozen=True)
class CastSigner:
    """A device of the cast, as one of its profiles: the private mode when none is named."""

    device: CastDevice
    profile: ProfileId | None = None
    account: AccountId | None = None
    list_number: int | None = None

    @property
    def signer(self) -> m.Signer:
        """What stands of it in a statement."""
        model = self.device.model
        # Each device of the cast came with a list of its own.
        person = next(each for each in PEOPLE if each.account == model.account)
        newest = self.list_number or len(person.devices)
        return m.Signer(self.account or model.account, self.profile or person.profile, model.id, newest)

    @property
    def key(self) -> Ed25519PrivateKey:
        """The device's signing key."""
        return self.device.signing


def cast_key(statement: s.Statement) -> bytes:
    """The signing key of a device of the cast."""
    (found,) = (device for person in PEOPLE for device in person.devices if device.id == statement.device)
    return found.model.signing_key


def opening(
    by: SignsStatements, kind: ConversationKind, *invited: Person, conversation: ConversationId = CONVERSATION
) -> "Chain":
    """A chain of the cast that begins a conversation."""
    chain = Chain(cast_key, conversation).create(by, kind)
    for person in invited:
        chain.say(by, s.Invite, person.profile, person.account, Role.MEMBER)
    return chain


def keys_of(*signers: ChainSigner) -> m.SignerKey:
    """The keys of these people's devices, in every list, for their own account and profile."""
    known = {(each.account, each.profile, each.device): each.key.public_key().public_bytes_raw() for each in signers}

    def key(statement: s.Statement) -> bytes:
        found = known.get((statement.account, statement.profile, statement.device))
        if found is None:
            raise s.ChainFault(RefusalCode.BAD_SIGNATURE, "no list of the account has this device")
        return found

    return key


@dataclass
class Chain:
    """A chain that grows, judged with the real rules as it does. `signed` holds its bytes."""

    keys: m.SignerKey
    conversation: ConversationId = CONVERSATION
    state: m.Membership | None = None
    signed: list[bytes] = field(default_factory=list)

    def create(self, by: SignsStatements, kind: ConversationKind = ConversationKind.GROUP) -> "Chain":
        """Begin."""
        return self.append(
            s.sign_statement(
                s.Create(*m.first_head(self.conversation, by.signer, NOW_MS), kind, bytes(16)), by.key.sign
            )
        )

    def say(self, by: SignsStatements, kind: Callable[..., s.AnyStatement], *body: object) -> "Chain":
        """Append a statement; a snapshot first where one is due."""
        if m.snapshot_is_due(self.now):
            self.append(self.sign(by, s.Snapshot, self.now.digest_of_state))
        return self.append(self.sign(by, kind, *body))

    def sign(self, by: SignsStatements, kind: Callable[..., s.AnyStatement], *body: object) -> bytes:
        """Sign what would follow now, without appending it."""
        return s.sign_statement(kind(*m.next_head(self.now, by.signer, NOW_MS), *body), by.key.sign)

    def append(self, signed: bytes) -> "Chain":
        """Judge and keep."""
        self.state = m.apply(self.state, signed, self.keys)
        self.signed.append(signed)
        return self

    @property
    def now(self) -> m.Membership:
        """What holds after the last statement."""
        assert self.state is not None
        return self.state
