"""Devices that talk to each other without a server: stores in memory, and a table in the middle that numbers
messages.
"""

import os
import sqlite3
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from tests import cast
from tests.cast import CastDevice, Person, salt_of
from tests.chains import Chain
from tests.ids import id_of
from varde.clock import fresh_id
from varde.crypto import CannotDecrypt
from varde.crypto.device_lists import next_list, sign
from varde.crypto.keychain import Keychain, OwnDevice
from varde.crypto.olm import OlmAccount
from varde.crypto.pairwise import keep_account, load_account
from varde.events import Reason
from varde.prekeys import make_prekeys
from varde.store import Store
from varde.store.chains import Chain as StoredChain
from varde.store.database import Database
from varde.store.outbox import Draft, DraftKind, EncryptedDraft
from varde.store.table import KEY_BYTES, StoreCipher
from varde.store.transcript import Life
from varde_contract.bodies import Body, Empty, Text
from varde_contract.device_list import DeviceList, ListedDevice, commitment, list_hash
from varde_contract.envelope import Envelope, UnknownEnvelope
from varde_contract.frames import New
from varde_contract.ids import ClientId, ConversationId, DeviceId, MessageId, ProfileId
from varde_contract.membership import Signer, replay
from varde_contract.membership_statements import Accept, Invite, Remove, Statement
from varde_contract.noise import KeyPair
from varde_contract.rest.people import ClaimedKey, ClaimedKeys, SignedKey
from varde_contract.rest.talk import ChainHead, ConversationView, ListHead, MemberView, RosterDevice
from varde_contract.talk import ConversationKind, Role

NOW = 1_800_000_000_000


@cache
def _empty_database() -> bytes:
    # To make the tables takes ten milliseconds, and a test has a store for each of its devices.
    connection = sqlite3.connect(":memory:", isolation_level=None)
    Database(connection)
    return connection.serialize()


def memory_store() -> Store:
    """An empty store that lives as long as the test."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(_empty_database())
    return Store(Database(connection), StoreCipher(os.urandom(KEY_BYTES)))


class Account:
    """A person's device lists, honestly signed: one more with every device that comes or goes."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.lists: list[DeviceList] = []
        self.signed: list[bytes] = []
        self.clock_ms = NOW
        """When the next list is issued."""

    @property
    def devices(self) -> tuple[ListedDevice, ...]:
        """The devices of the newest list."""
        return self.lists[-1].devices if self.lists else ()

    @property
    def head(self) -> ListHead:
        """What a roster says of the newest list."""
        return ListHead(self.person.account, len(self.lists), list_hash(self.lists[-1]))

    def put(self, devices: Iterable[ListedDevice], **signers: OlmAccount) -> None:
        """The next list: signed by the root key, and by devices that are new."""
        before = self.lists[-1] if self.lists else None
        fresh = next_list(before, self.person.account, self.person.root_key, devices, self.clock_ms)
        new = {DeviceId(UUID(device)): olm.sign for device, olm in signers.items()}
        self.lists.append(fresh)
        self.signed.append(sign(fresh, roots=(self.person.root,), signers=new))

    def forge(self, root: Ed25519PrivateKey) -> None:
        """A next list under a root key of the server's making, which the one before does not vouch for."""
        before = self.lists[-1]
        public = root.public_key().public_bytes_raw()
        self.lists.append(next_list(before, self.person.account, public, before.devices, NOW))
        self.signed.append(sign(self.lists[-1], roots=(root,)))

    def revoke(self, device: DeviceId) -> None:
        """Take a device off the list."""
        self.put(listed for listed in self.devices if listed.device != device)


_accounts: dict[str, Account] = {}
"""The newest of each person. A device that is made anew begins another life of its person."""


def forget_accounts() -> None:
    """Begin anew with everybody."""
    _accounts.clear()


@dataclass(eq=False)
class Endpoint:
    """One device of the cast, with keys it really holds, in the device list of its account."""

    person: Person
    device: CastDevice
    store: Store = field(default_factory=memory_store)
    keychain: Keychain = field(init=False)
    listed: ListedDevice = field(init=False)
    account: Account = field(init=False)
    one_time_keys: deque[SignedKey] = field(init=False)
    fallback_key: SignedKey | None = field(init=False)

    def __post_init__(self) -> None:
        olm = OlmAccount.generate()
        with self.store.transaction():
            keep_account(self.store, olm)
        self.listed = ListedDevice(
            self.device.id,
            KeyPair.generate().public,
            olm.signing_key,
            olm.identity_key,
            (commitment(self.person.profile, salt_of(self.person.profile)),),
            manager=True,
        )
        account = _accounts.get(self.person.name)
        if account is None or any(listed.device == self.id for each in account.lists for listed in each.devices):
            account = _accounts[self.person.name] = Account(self.person)
        account.put([*account.devices, self.listed], **{str(self.id): olm})
        self.account = account
        self.keychain = Keychain(self.store, OwnDevice(self.person.account, self.device.id))
        upload = make_prekeys(self.store, self.device.id, 5, fallback=True)
        self.one_time_keys, self.fallback_key = deque(upload.one_time_keys), upload.fallback_key

    @property
    def id(self) -> DeviceId:
        """The device."""
        return self.device.id

    def learn(self, *accounts: Account) -> None:
        """Take in what is new of these accounts' lists."""
        with self.store.transaction():
            for account in accounts:
                self.keychain.trust.lists.accept(account.person.account, account.signed)

    @property
    def signer(self) -> Signer:
        """What stands of it in a statement."""
        return Signer(self.person.account, self.person.profile, self.id, self.account.head.number)

    @property
    def key(self) -> "Endpoint":
        """What signs its statements: it does."""
        return self

    def sign(self, statement: bytes) -> bytes:
        """Sign with the device's key."""
        return load_account(self.store).sign(statement)

    def open(self, new: New) -> Envelope | UnknownEnvelope:
        """Open a message, in a transaction as the receiver does."""
        with self.store.transaction():
            return self.keychain.open(new).envelope

    def read(self, new: New) -> str:
        """Open a message and return its text."""
        body = self.open(new).body
        assert isinstance(body, Text)
        return body.text


def why(reader: Endpoint, new: New) -> Reason:
    """Why a message stays closed."""
    with pytest.raises(CannotDecrypt) as caught:
        reader.open(new)
    return caught.value.reason


def endpoint(device: CastDevice) -> Endpoint:
    """A device of the cast."""
    return Endpoint(next(person for person in cast.PEOPLE if device in person.devices), device)


class SimulatedConversation:
    """One conversation, with an honest relay and an honest key directory in the middle."""

    def __init__(self, kind: ConversationKind, *endpoints: Endpoint) -> None:
        self.kind = kind
        self.conversation = ConversationId(fresh_id())
        self.endpoints = list(endpoints)
        self.past: list[Endpoint] = []
        self.version = 1
        self.seq = 0
        self.chain = Chain(self._key_of, self.conversation)
        self._members: set[ProfileId] = set()
        self._creator = endpoints[0]
        self.chain.create(self._creator, kind)
        self._members.add(self._creator.person.profile)
        for endpoint in endpoints:
            self._accept(endpoint)

    @classmethod
    def begun_by(cls, opener: Endpoint, signed: Sequence[bytes]) -> "SimulatedConversation":
        """Take what somebody signed to begin a conversation."""
        state = replay(None, signed[0])
        made = cls(state.kind, opener)
        made.conversation = state.conversation
        made.chain = Chain(made._key_of, state.conversation)
        for each in signed:
            made.chain.append(each)
        return made

    def join(self, endpoint: Endpoint) -> None:
        """Somebody comes in."""
        self.endpoints.append(endpoint)
        self._accept(endpoint)
        self.version += 1

    def remove(self, endpoint: Endpoint) -> None:
        """A device is revoked, or the only one of somebody leaves."""
        self.endpoints.remove(endpoint)
        self.past.append(endpoint)
        if any(each.person is endpoint.person for each in self.endpoints):
            endpoint.account.revoke(endpoint.id)
        self.version += 1
        profile = endpoint.person.profile
        if self.kind is ConversationKind.GROUP and profile not in {each.person.profile for each in self.endpoints}:
            self._members.discard(profile)
            # The creator's first device may be revoked by now, and then signs nothing any more.
            owner = next(each for each in self.endpoints if each.person is self._creator.person)
            self.chain.say(owner, Remove, profile)

    def _accept(self, endpoint: Endpoint) -> None:
        person = endpoint.person
        if person.profile not in self._members:
            self._members.add(person.profile)
            self.chain.say(self._creator, Invite, person.profile, person.account, Role.MEMBER)
            self.chain.say(endpoint, Accept, None)

    def _key_of(self, statement: Statement) -> bytes:
        found = next(each for each in (*self.endpoints, *self.past) if each.id == statement.device)
        return found.listed.signing_key

    @property
    def everybody(self) -> list[Endpoint]:
        """Who is here, and who was."""
        return [*self.endpoints, *self.past]

    @property
    def view(self) -> ConversationView:
        """The roster now."""
        accepted = self.chain.now.accepted
        people = list({each.person.profile: each.person for each in self.endpoints}.values())
        people = [person for person in people if person.profile in accepted]
        return ConversationView(
            conversation=self.conversation,
            kind=self.kind,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            head=self.seq,
            roster_version=self.version,
            members=tuple(
                MemberView(p.profile, p.account, self.chain.now.members[p.profile].role, salt_of(p.profile))
                for p in people
            ),
            lists=tuple(account.head for account in self.accounts),
            devices=tuple(
                RosterDevice(each.id, each.person.account, (each.person.profile,))
                for each in self.endpoints
                if each.person in people
            ),
            chain=ChainHead(self.chain.now.number, self.chain.now.head),
        )

    @property
    def accounts(self) -> list[Account]:
        """The accounts of who is here."""
        return list({endpoint.person.account: endpoint.account for endpoint in self.endpoints}.values())

    def prove(self, endpoint: Endpoint) -> None:
        """Let an endpoint hold the chain, as if it had verified it."""
        past = {profile: member.account for profile, member in self.chain.now.accepted.items()}
        past |= {each.person.profile: each.person.account for each in self.past}
        with endpoint.store.transaction():
            endpoint.store.chains.put(StoredChain(replace(self.chain.now, conversation=self.conversation), past, {}))
            state = None
            for signed in self.chain.signed:
                state = replay(state, signed)
                endpoint.store.chains.keep(state, signed)

    def verify_everywhere(self) -> None:
        """Every endpoint verifies the roster."""
        for endpoint in self.endpoints:
            endpoint.learn(*self.accounts)
            self.prove(endpoint)
            with endpoint.store.transaction():
                endpoint.keychain.trust.accept_roster(self.view)

    def claim(self, devices: Sequence[DeviceId]) -> ClaimedKeys:
        """Hand out a prekey of each device, first in, first out, then the fallback key."""
        keys: list[ClaimedKey] = []
        for endpoint in self.endpoints:
            if endpoint.id in devices and endpoint.one_time_keys:
                keys.append(ClaimedKey(endpoint.id, endpoint.one_time_keys.popleft(), fallback=False))
            elif endpoint.id in devices and endpoint.fallback_key is not None:
                keys.append(ClaimedKey(endpoint.id, endpoint.fallback_key, fallback=True))
        given = {key.device for key in keys}
        return ClaimedKeys(tuple(keys), tuple(device for device in devices if device not in given))

    def draft(self, sender: Endpoint, text: str = "", kind: DraftKind = DraftKind.TEXT) -> Draft:
        """Something to send."""
        return Draft(self.conversation, ClientId(fresh_id()), kind, sender.person.profile, NOW, Text(text))

    def encrypt_for_each(self, sender: Endpoint, draft: Draft, body: Body) -> EncryptedDraft:
        """Claim what is missing and seal for every device."""
        with sender.store.transaction():
            sender.keychain.start_sessions(self.view, self.claim(sender.keychain.without_session(self.view)))
            return sender.keychain.encrypt_for_each(self.view, draft, body)

    def commit(
        self, sender: Endpoint, draft: Draft, ready: EncryptedDraft, *, acked: bool = True
    ) -> dict[DeviceId, New]:
        """Number a message, and return it as each device but the sender's gets it."""
        self.seq += 1
        if acked:
            life = Life(self.conversation, sender.id, ready.incarnation)
            with sender.store.transaction():
                sender.store.transcript.add(life, ready.counter, ready.digest, self.seq, part=ready.part)
        everyone = [endpoint.id for endpoint in self.endpoints if endpoint is not sender]
        sealed = ready.devices if ready.devices is not None else dict.fromkeys(everyone, ready.group or b"")
        return {device: self.new(sender, draft, sealed[device]) for device in everyone if device in sealed}

    def new(self, sender: Endpoint, draft: Draft, sealed: bytes) -> New:
        """What the relay says of a message."""
        return New(
            conversation=self.conversation,
            seq=self.seq,
            message=MessageId(id_of(self.seq)),
            client_id=draft.client_id,
            sender_profile=draft.profile,
            sender_device=sender.id,
            time=NOW,
            ciphertext=sealed,
        )

    def send_text(self, sender: Endpoint, text: str) -> dict[DeviceId, New]:
        """Send one text, pairwise."""
        draft = self.draft(sender, text)
        return self.commit(sender, draft, self.encrypt_for_each(sender, draft, Text(text)))

    def request_reset(self, sender: Endpoint) -> dict[DeviceId, New]:
        """Send an empty message, on a fresh ratchet where one was lost."""
        draft = self.draft(sender, kind=DraftKind.SESSION_RESET)
        return self.commit(sender, draft, self.encrypt_for_each(sender, draft, Empty()))

    def share(self, sender: Endpoint, now_ms: int = NOW) -> dict[DeviceId, New]:
        """Send the sender key to everybody."""
        draft = self.draft(sender, kind=DraftKind.SHARE)
        with sender.store.transaction():
            body = sender.keychain.share(self.view, now_ms)
        return self.commit(sender, draft, self.encrypt_for_each(sender, draft, body))

    def send_group_text(self, sender: Endpoint, text: str) -> dict[DeviceId, New]:
        """Send one text with the sender key."""
        draft = self.draft(sender, text)
        with sender.store.transaction():
            ready = sender.keychain.encrypt_for_group(self.view, draft, Text(text))
        return self.commit(sender, draft, ready)
