"""People and their conversations as rows: what sign-up and `POST /v1/conversations` would have written."""

import os
from typing import Any, Final
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.people.addresses import address_digest, normal_address
from domain.people.model import Device
from domain.people.sessions import REFRESH_TIME
from domain.people.tickets import TicketIssuer
from domain.people.tokens import SECRET_BYTES, Token
from loadtest.crowd.crowd import Room, Seat, address_of, refresh_secret, signing_key
from varde_contract.ids import ENTROPY_BYTES, AccountId, ConversationId, DeviceId, ProfileId, SessionId, uuid7
from varde_contract.limits import MEMBERS_PER_CONVERSATION
from varde_contract.noise import KeyPair
from varde_contract.people import Policies, ProfileType, Theme
from varde_contract.signed_statements import device_statement, fallback_key_statement, one_time_key_statement
from varde_contract.talk import ConversationKind, Role

COLUMNS: Final = {
    "account": "account_id created_ms root_key",
    "address_account": "address account_id",
    "profile": "account_id profile_id type theme policies created_ms",
    "profile_account": "profile_id account_id",
    "device": "account_id device_id noise_key signing_key identity_key signature profiles created_ms",
    "device_account": "device_id account_id",
    "session": "account_id session_id device_id access_digest access_expires_ms refresh_digest refresh_expires_ms"
    " created_ms refreshed_ms",
    "one_time_key": "account_id device_id key signature",
    "fallback_key": "account_id device_id key signature",
    "conversation": "conversation_id kind created_ms",
    "pair_conversation": "low_profile_id high_profile_id conversation_id",
    "membership": "conversation_id profile_id account_id role from_seq",
    "delivery": "conversation_id device_id start_seq upto",
}
"""In the order in which they have to be filled."""
KEY_BYTES: Final = 32
_OPEN: Final = msgspec.json.encode(Policies()).decode()
_SILENT: Final = msgspec.json.encode(
    Policies(read_receipts=False, delivery_receipts=False, typing=False, presence=False)
).decode()


class Rows:
    """The rows of everybody, by table. People are drawn from the system's entropy; each has a device, signed in."""

    def __init__(self, issuer: TicketIssuer, pepper: bytes, now_ms: int, prekeys: int) -> None:
        """`prekeys` one-time keys for each device; the fallback key comes in addition."""
        self.tables: dict[str, list[tuple[Any, ...]]] = {table: [] for table in COLUMNS}
        self.tickets_expire_ms = 0
        self._issuer, self._pepper, self._now, self._prekeys = issuer, pepper, now_ms, prekeys

    def add_room(self, number: int, members: range) -> tuple[list[Seat], Room]:
        """Add a conversation of new people: two are a dm, and nobody's; more are a group, owned by the first."""
        conversation, group = ConversationId(self._draw_id()), len(members) > 2  # noqa: PLR2004 - see above
        kind = ConversationKind.GROUP if group else ConversationKind.DM
        self.tables["conversation"].append((conversation, kind.value, self._now))
        seats = list[Seat]()
        for _ in members:
            # In a channel everybody would be told of everybody: a thousand members are a million receipts a message.
            seat = self._add_person(number, silent=len(members) > MEMBERS_PER_CONVERSATION)
            role = Role.OWNER if group and not seats else Role.MEMBER
            self.tables["membership"].append((conversation, seat.profile, seat.account, role.value, 1))
            self.tables["delivery"].append((conversation, seat.device, 1, 0))
            seats.append(seat)
        if not group:
            self.tables["pair_conversation"].append((*sorted(seat.profile for seat in seats), conversation))
        return seats, Room(conversation, tuple(members), 1, group)

    def _add_person(self, room: int, *, silent: bool) -> Seat:
        account, profile, device = AccountId(self._draw_id()), ProfileId(self._draw_id()), DeviceId(self._draw_id())
        noise_private, root = os.urandom(KEY_BYTES), Ed25519PrivateKey.generate()
        noun = self._draw_device(account, profile, device, noise_private, root)
        ticket = self._issuer.issue(noun, read_ms=self._now)
        self.tickets_expire_ms = ticket.expires_ms
        now, add = self._now, {table: rows.append for table, rows in self.tables.items()}
        keys = (noun.noise_key, noun.signing_key, noun.identity_key, noun.signature)
        add["account"]((account, now, root.public_key().public_bytes_raw()))
        add["address_account"]((address_digest(self._pepper, normal_address(address_of(device))), account))
        policies = _SILENT if silent else _OPEN
        add["profile"]((account, profile, ProfileType.PRIVAT.value, Theme.SYSTEM.value, policies, now))
        add["profile_account"]((profile, account))
        add["device"]((account, device, *keys, [profile], now))
        add["device_account"]((device, account))
        session = SessionId(self._draw_id())
        access = Token(account, session, os.urandom(SECRET_BYTES))
        refresh = Token(account, session, refresh_secret(noise_private)).digest()
        ends = (ticket.expires_ms, refresh, now + REFRESH_TIME)
        add["session"]((account, session, device, access.digest(), *ends, now, now))
        signing, fallback = signing_key(noise_private), _draw_exchange_key()
        for key in (_draw_exchange_key() for _ in range(self._prekeys)):
            add["one_time_key"]((account, device, key, signing.sign(one_time_key_statement(device, key))))
        add["fallback_key"]((account, device, fallback, signing.sign(fallback_key_statement(device, fallback))))
        return Seat(account, profile, device, noise_private, ticket.text, access.spell(), (room,))

    def _draw_device(
        self, account: AccountId, profile: ProfileId, device: DeviceId, noise_private: bytes, root: Ed25519PrivateKey
    ) -> Device:
        noise, identity = KeyPair.from_private(noise_private).public, _draw_exchange_key()
        signing = signing_key(noise_private).public_key().public_bytes_raw()
        statement = device_statement(account, device, noise_key=noise, signing_key=signing, identity_key=identity)
        keys = (noise, signing, identity)
        return Device(account, device, *keys, root.sign(statement), (profile,), created_ms=self._now)

    def _draw_id(self) -> UUID:
        return uuid7(self._now, os.urandom(ENTROPY_BYTES))


def _draw_exchange_key() -> bytes:
    """A Curve25519 public key. Nobody holds the private half: payloads of a run are encrypted otherwise."""
    return KeyPair.from_private(os.urandom(KEY_BYTES)).public
