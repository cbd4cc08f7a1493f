"""`python -m loadtest.crowd.seeding` settles a crowd by COPY: alone here domain and storage are imported."""

import asyncio
import os
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
from msgspec.structs import asdict

from domain.people.addresses import address_digest, normal_address
from domain.people.model import Device, StoredList
from domain.people.sessions import REFRESH_TIME
from domain.people.tickets import TicketIssuer
from domain.people.tokens import SECRET_BYTES, Token
from loadtest.crowd.crowd import FAILED, Crowd, Order, Room, Seat, address_of, deal_rooms, write_crowd
from loadtest.crowd.device_keys import derive_secret, draw_exchange_key, first_list, signed_prekeys, signing_key
from loadtest.exits import CouldNotRun
from storage.keys import KeyFileError, read_api_keys
from storage.migrate import SchemaError, require_current
from varde_contract.device_list import SALT_BYTES, list_hash
from varde_contract.ids import ENTROPY_BYTES, AccountId, ConversationId, DeviceId, ProfileId, SessionId, uuid7
from varde_contract.limits import MEMBERS_PER_CONVERSATION
from varde_contract.noise import KeyPair
from varde_contract.people import Policies, ProfileType, Theme
from varde_contract.talk import ConversationKind, Role

EXPECTED: Final = (CouldNotRun, SchemaError, KeyFileError, OSError, ValueError, asyncpg.PostgresError)
"""What a person can mend."""
COLUMNS: Final[dict[str, str]] = tomllib.loads(Path(__file__).with_name("columns.toml").read_text())
# Tables that have one row for each person.
_PERSON: Final = COLUMNS.keys() - {"conversation", "pair_conversation", "one_time_key", "fallback_key"}
_KEY_BYTES: Final = 32
_CONNECT_SECONDS: Final = 30.0
_TABLE_SECONDS: Final = 600.0
_OPEN: Final = msgspec.json.encode(Policies()).decode()
_SILENT: Final = msgspec.json.encode(
    Policies(read_receipts=False, delivery_receipts=False, typing=False, presence=False)
).decode()


class Rows:
    """What sign-up and `POST /v1/conversations` would have written, by table: people, each with a device."""

    def __init__(self, issuer: TicketIssuer, pepper: bytes, now_ms: int, prekeys: int) -> None:
        """`prekeys` one-time keys for each device; the fallback key comes in addition."""
        self.tables: dict[str, list[tuple[Any, ...]]] = {table: [] for table in COLUMNS}
        self.tickets_expire_ms = 0
        self._issuer, self._pepper, self._now, self._prekeys = issuer, pepper, now_ms, prekeys

    def add_room(self, number: int, members: range) -> tuple[list[Seat], Room]:
        """Add a conversation of new people: two are a dm, and nobody's; more are a group, owned by the first."""
        conversation, group = ConversationId(self._draw_id()), len(members) > 2  # noqa: PLR2004 - see above
        kind = ConversationKind.GROUP if group else ConversationKind.DM
        row = {"conversation_id": conversation, "kind": kind.value, "created_ms": self._now}
        self._add("conversation", row)
        # In a channel everybody would be told of everybody: a thousand members are a million receipts a message.
        row["policies"] = _SILENT if len(members) > MEMBERS_PER_CONVERSATION else _OPEN
        roles = [Role.OWNER if group and member == members.start else Role.MEMBER for member in members]
        seats = [self._add_person(number, row | {"role": role.value}) for role in roles]
        if not group:
            low, high = sorted(seat.profile for seat in seats)
            self._add("pair_conversation", row | {"low_profile_id": low, "high_profile_id": high})
        return seats, Room(conversation, tuple(members), 1, group)

    def _add(self, table: str, row: dict[str, Any]) -> None:
        self.tables[table].append(tuple(row[column] for column in COLUMNS[table].split()))

    def _add_person(self, room: int, row: dict[str, Any]) -> Seat:
        account, profile, device = AccountId(self._draw_id()), ProfileId(self._draw_id()), DeviceId(self._draw_id())
        noise_private = os.urandom(_KEY_BYTES)
        signing, noise = signing_key(noise_private), KeyPair.from_private(noise_private).public
        # Payloads of a run are encrypted otherwise: nobody holds the private half of the identity key.
        public = (noise, signing.public_key().public_bytes_raw(), draw_exchange_key())
        keys = dict(zip(("noise_key", "signing_key", "identity_key"), public, strict=True))
        salt = os.urandom(SALT_BYTES)
        first, signed = first_list(account, device, public, (profile, salt), signing, self._now)
        stored = StoredList(account, 1, signed, list_hash(first))
        registered = Device(account, device, **keys, profiles=(profile,), valid_until_ms=None, created_ms=self._now)
        ticket = self._issuer.issue(registered, read_ms=self._now)
        self.tickets_expire_ms = ticket.expires_ms
        session = SessionId(self._draw_id())
        access = Token(account, session, os.urandom(SECRET_BYTES))
        row |= keys | {
            "account_id": account,
            "list_number": 1,
            "number": 1,
            "statement": signed,
            "hash": stored.hash,
            "digest": stored.digest,
            "salt": salt,
            "address": address_digest(self._pepper, normal_address(address_of(device))),
            "profile_id": profile,
            "type": ProfileType.PRIVAT.value,
            "theme": Theme.SYSTEM.value,
            "device_id": device,
            "profiles": [profile],
            "session_id": session,
            "access_digest": access.digest(),
            "access_expires_ms": ticket.expires_ms,
            "refresh_digest": Token(account, session, derive_secret(noise_private, b"refresh")).digest(),
            "refresh_expires_ms": self._now + REFRESH_TIME,
            "refreshed_ms": self._now,
            "accepted": True,
            "from_seq": 1,
            "start_seq": 1,
            "upto": 0,
        }
        for table in _PERSON:
            self._add(table, row)
        upload = signed_prekeys(device, signing, [b""] * self._prekeys)
        assert upload.fallback_key is not None
        for table, signed_keys in (("one_time_key", upload.one_time_keys), ("fallback_key", (upload.fallback_key,))):
            for key in signed_keys:
                self._add(table, row | asdict(key))
        return Seat(account, profile, device, noise_private, ticket.text, access.spell(), (room,))

    def _draw_id(self) -> UUID:
        return uuid7(self._now, os.urandom(ENTROPY_BYTES))


async def seed(order: Order) -> str:
    """Make the people, write them into the database, and the file. Returns what was done, in words."""
    keys = read_api_keys(Path(order.keys))
    try:
        connection = await asyncpg.connect(order.database_url, timeout=_CONNECT_SECONDS)
    except OSError as error:  # a TimeoutError, too; neither text holds the URL
        raise CouldNotRun(f"the database cannot be reached: {error.strerror or 'no answer'}") from None
    try:
        await require_current(connection)
        if not order.into_existing and await connection.fetchval("SELECT EXISTS (SELECT FROM account)"):
            raise CouldNotRun("people live in this database already: say --into-existing to add a crowd to them")
        if not Path(order.out).parent.is_dir():
            raise CouldNotRun(f"{Path(order.out).parent} is not a folder")
        began, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        rows = Rows(TicketIssuer(keys.ticket_private, entropy=os.urandom), keys.pepper, now_ms, order.prekeys)
        crowd = _make_crowd(order, rows, keys.relay_public)
        # The file first: people whose keys are nowhere would be of no use, and in the way of the next crowd.
        write_crowd(Path(order.out), crowd)
        try:
            await _copy(connection, rows)
        except BaseException:
            Path(order.out).unlink()  # noqa: ASYNC240 - nothing else runs in this loop
            raise
    finally:
        await connection.close()
    took, count = max(time.monotonic() - began, 0.001), sum(map(len, rows.tables.values()))
    pace = f"{took:.1f} s, {len(crowd.seats) / took:,.0f} people a second"
    return f"{len(crowd.seats):,} people in {len(crowd.rooms):,} conversations, {count:,} rows: {pace}"


def _make_crowd(order: Order, rows: Rows, relay_key: bytes) -> Crowd:
    authority = Path(order.authority).read_text() if order.authority else ""
    seats, rooms = list[Seat](), list[Room]()
    for number, members in enumerate(deal_rooms(order.rooms, order.seats, order.seed)):
        new, room = rows.add_room(number, members)
        seats += new
        rooms.append(room)
    return Crowd(
        relay_url=order.relay_url,
        api_url=order.api_url,
        relay_key=relay_key,
        payload_key=os.urandom(_KEY_BYTES),
        tickets_expire_ms=rows.tickets_expire_ms,
        seats=tuple(seats),
        rooms=tuple(rooms),
        authority=authority,
    )


async def _copy(connection: Any, rows: Rows) -> None:
    """Fill the tables in order, all in one transaction."""
    async with connection.transaction():
        for table, columns in COLUMNS.items():
            await connection.copy_records_to_table(
                table, records=rows.tables[table], columns=columns.split(), timeout=_TABLE_SECONDS
            )
    # Postgres would go by what it knew of empty tables, and read them from end to end, until it looks by itself.
    await connection.execute("ANALYZE", timeout=_TABLE_SECONDS)


def main() -> int:
    """Carry out the order on standard input. Returns the exit code."""
    code = 0
    try:
        words = asyncio.run(seed(msgspec.json.decode(sys.stdin.buffer.read(), type=Order)))
    except EXPECTED as error:
        # Of what Postgres says its first argument only: DETAIL may hold the values of rows.
        words = f"the database refused: {error.args[0]}" if isinstance(error, asyncpg.PostgresError) else str(error)
        code = FAILED
    sys.stdout.write(" ".join(words.splitlines()) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
