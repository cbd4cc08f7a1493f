"""Thousands of conversations of two in seconds: accounts, profiles, devices and rosters copied straight into Postgres.

What it writes is what sign-up and `POST /v1/conversations` would have written, row for row, so far as the relay reads
it; sessions, prekeys and valid certificates are left out, as only the API and clients look at them.
"""

import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from msgspec import Struct

from bench.durable.varde import Seat
from domain.people.model import Device
from domain.people.tickets import TicketIssuer
from storage.embedded.cluster import program
from varde_contract.ids import ENTROPY_BYTES, AccountId, ConversationId, DeviceId, ProfileId, uuid7
from varde_contract.noise import KeyPair
from varde_contract.people import ProfileType, Theme

DEADLINE: Final = 120
"""Seconds for the whole copy."""
_POLICIES: Final = "{}"
"""Every policy has its default."""


class _Person(Struct, frozen=True):
    """One account with one profile and one device."""

    account: AccountId
    profile: ProfileId
    device: DeviceId
    noise: KeyPair


class _Pair(Struct, frozen=True):
    """Two people and their conversation."""

    conversation: ConversationId
    people: tuple[_Person, _Person]


def seed_pairs(url: str, count: int, *, ticket_key: bytes) -> list[Seat]:
    """Write `count` conversations of two devices each; return the seats, partners side by side.

    `url` is of an empty, migrated database; `ticket_key` the Ed25519 private key that the relay's public one belongs
    to. Raises CalledProcessError when the database refuses.
    """
    now_ms = time.time_ns() // 1_000_000
    pairs = [_draw_pair(now_ms) for _ in range(count)]
    psql = (program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", "-d", url)
    subprocess.run(psql, input=_script(pairs, now_ms), text=True, check=True, timeout=DEADLINE)  # noqa: S603 - our own words
    issuer = TicketIssuer(ticket_key, entropy=os.urandom)
    return [seat for pair in pairs for seat in _seats(pair, issuer, now_ms)]


def _draw_pair(now_ms: int) -> _Pair:
    return _Pair(ConversationId(_draw(now_ms)), (_draw_person(now_ms), _draw_person(now_ms)))


def _draw_person(now_ms: int) -> _Person:
    account, profile, device = (_draw(now_ms) for _ in range(3))
    return _Person(AccountId(account), ProfileId(profile), DeviceId(device), KeyPair.from_private(os.urandom(32)))


def _draw(now_ms: int) -> UUID:
    return uuid7(now_ms, os.urandom(ENTROPY_BYTES))


def _seats(pair: _Pair, issuer: TicketIssuer, now_ms: int) -> Iterable[Seat]:
    one, other = pair.people
    for person, partner in ((one, other), (other, one)):
        # The certificate's other keys and its signature are nothing to a ticket.
        noun = Device(
            person.account, person.device, person.noise.public, b"", b"", b"", (person.profile,), created_ms=now_ms
        )
        ticket = issuer.issue(noun, read_ms=now_ms).text
        yield Seat(person.device, person.noise, ticket, person.profile, pair.conversation, partner.device)


def _script(pairs: Sequence[_Pair], now_ms: int) -> str:
    people = [person for pair in pairs for person in pair.people]
    seated = [(pair.conversation, person) for pair in pairs for person in pair.people]
    lows_highs = [sorted(person.profile for person in pair.people) for pair in pairs]
    kinds = (ProfileType.PRIVAT, Theme.SYSTEM, _POLICIES, now_ms)
    tables: dict[str, Iterable[Sequence[object]]] = {
        "account (account_id, created_ms, root_key)": [(p.account, now_ms, _key()) for p in people],
        "profile (account_id, profile_id, type, theme, policies, created_ms)": [
            (p.account, p.profile, *kinds) for p in people
        ],
        "profile_account (profile_id, account_id)": [(p.profile, p.account) for p in people],
        "device (account_id, device_id, noise_key, signing_key, identity_key, signature, profiles, created_ms)": [
            (p.account, p.device, _bytea(p.noise.public), _key(), _key(), _key(64), f"{{{p.profile}}}", now_ms)
            for p in people
        ],
        "device_account (device_id, account_id)": [(p.device, p.account) for p in people],
        "conversation (conversation_id, kind, created_ms)": [(pair.conversation, "dm", now_ms) for pair in pairs],
        "pair_conversation (low_profile_id, high_profile_id, conversation_id)": [
            (low, high, pair.conversation) for (low, high), pair in zip(lows_highs, pairs, strict=True)
        ],
        "membership (conversation_id, profile_id, account_id, role, from_seq)": [
            (conversation, p.profile, p.account, "member", 1) for conversation, p in seated
        ],
        "delivery (conversation_id, device_id, start_seq, upto)": [
            (conversation, p.device, 1, 0) for conversation, p in seated
        ],
    }
    return "".join(_copy(table, rows) for table, rows in tables.items()) + "ANALYZE;\n"


def _copy(table: str, rows: Iterable[Sequence[object]]) -> str:
    lines = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    return f"COPY {table} FROM STDIN;\n{lines}\\.\n"


def _key(size: int = 32) -> str:
    return _bytea(os.urandom(size))


def _bytea(octets: bytes) -> str:
    return f"\\\\x{octets.hex()}"  # COPY takes one of the two backslashes for itself
