"""Devices that talk to each other without a server: stores in memory, and a table in the middle that numbers
messages.
"""

import os
import sqlite3
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from tests import cast
from tests.cast import CastDevice, Person
from tests.ids import id_of
from varde.clock import fresh_id
from varde.crypto import CannotDecrypt
from varde.crypto.certificates import certify
from varde.crypto.keychain import Keychain, OwnDevice
from varde.crypto.olm import OlmAccount
from varde.crypto.pairwise import keep_account
from varde.events import Reason
from varde.prekeys import make_prekeys
from varde.store import Store
from varde.store.database import Database
from varde.store.outbox import Draft, DraftKind, EncryptedDraft
from varde.store.table import KEY_BYTES, StoreCipher
from varde.store.transcript import Life
from varde_contract.envelope import Body, Empty, Envelope, Text, UnknownEnvelope
from varde_contract.frames import New
from varde_contract.ids import ClientId, ConversationId, DeviceId, MessageId
from varde_contract.noise import KeyPair
from varde_contract.rest.people import Certificate, ClaimedKey, ClaimedKeys, SignedKey
from varde_contract.rest.talk import ConversationView, MemberView, RosterDevice, SenderView
from varde_contract.talk import ConversationKind, Role

NOW = 1_800_000_000_000


def memory_store() -> Store:
    """An empty store that lives as long as the test."""
    return Store(Database(sqlite3.connect(":memory:", isolation_level=None)), StoreCipher(os.urandom(KEY_BYTES)))


@dataclass(eq=False)
class Endpoint:
    """One device of the cast, with keys it really holds."""

    person: Person
    device: CastDevice
    store: Store = field(default_factory=memory_store)
    keychain: Keychain = field(init=False)
    certificate: Certificate = field(init=False)
    one_time_keys: deque[SignedKey] = field(init=False)
    fallback_key: SignedKey | None = field(init=False)

    def __post_init__(self) -> None:
        olm = OlmAccount.generate()
        with self.store.transaction():
            keep_account(self.store, olm)
        self.certificate = certify(
            self.person.root,
            self.person.account,
            self.device.id,
            noise_key=KeyPair.generate().public,
            signing_key=olm.signing_key,
            identity_key=olm.identity_key,
        )
        self.keychain = Keychain(self.store, OwnDevice(self.person.account, self.device.id))
        upload = make_prekeys(self.store, self.device.id, 5, fallback=True)
        self.one_time_keys, self.fallback_key = deque(upload.one_time_keys), upload.fallback_key

    @property
    def id(self) -> DeviceId:
        """The device."""
        return self.device.id

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

    def join(self, endpoint: Endpoint) -> None:
        """Somebody comes in."""
        self.endpoints.append(endpoint)
        self.version += 1

    def remove(self, endpoint: Endpoint) -> None:
        """Somebody goes."""
        self.endpoints.remove(endpoint)
        self.past.append(endpoint)
        self.version += 1

    @property
    def view(self) -> ConversationView:
        """The roster now."""
        people = list({endpoint.person.profile: endpoint.person for endpoint in self.endpoints}.values())
        return ConversationView(
            conversation=self.conversation,
            kind=self.kind,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            head=self.seq,
            roster_version=self.version,
            members=tuple(MemberView(p.profile, p.account, Role.MEMBER, p.root_key) for p in people),
            devices=tuple(RosterDevice(p.certificate, (p.person.profile,)) for p in self.endpoints),
        )

    def sender(self, device: DeviceId) -> SenderView:
        """A device that is here, or was."""
        (endpoint,) = (each for each in (*self.endpoints, *self.past) if each.id == device)
        return SenderView(endpoint.certificate, endpoint.person.root_key)

    def verify_everywhere(self) -> None:
        """Every endpoint verifies the roster."""
        for endpoint in self.endpoints:
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
        return Draft(self.conversation, ClientId(fresh_id()), kind, sender.person.profile, NOW, text)

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
                sender.store.transcript.add(life, ready.counter, ready.digest, self.seq)
        everyone = [endpoint.id for endpoint in self.endpoints if endpoint is not sender]
        sealed = ready.devices if ready.devices is not None else dict.fromkeys(everyone, ready.group or b"")
        return {device: self.new(sender, draft, sealed[device]) for device in everyone}

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
