"""The program `python -m loadtest.crowd.seeding`: an order comes in on standard input, lines of progress go out."""

import os
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, TypeVarTuple, Unpack

import asyncpg
import msgspec
import trio

from domain.people.tickets import TicketIssuer
from loadtest.crowd.crowd import Crowd, CrowdError, Room, Seat, write_crowd
from loadtest.crowd.dealing import deal_rooms
from loadtest.crowd.order import FAILED, Order, Said
from loadtest.crowd.seeding.copying import copy_tables, refuse_unfit
from loadtest.crowd.seeding.people import KEY_BYTES, Person, draw_conversation, draw_person
from loadtest.crowd.seeding.tables import COLUMNS, Gathering, rows_of
from storage.island import open_island
from storage.keys import ApiKeys, KeyFileError, read_api_keys
from storage.migrate import SchemaError
from varde_contract.ids import ConversationId
from varde_contract.limits import MEMBERS_PER_CONVERSATION

EXPECTED: Final = (CrowdError, SchemaError, KeyFileError, OSError, ValueError, asyncpg.PostgresError)
"""What a person can mend."""
EACH: Final = 1_000
"""People between two lines of progress."""

Say: TypeAlias = Callable[[str], None]
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def seed(order: Order, say: Say) -> None:
    """Make the people, write them into the database, and then into the file."""
    began, now_ms = time.monotonic(), time.time_ns() // 1_000_000
    keys = read_api_keys(Path(order.keys))
    # What can go wrong first, before a minute of work.
    trio.run(_on_island, refuse_unfit, order.database_url, order.into_existing)
    if not Path(order.out).parent.is_dir():
        raise CrowdError(f"{Path(order.out).parent} is not a folder")
    authority = Path(order.authority).read_text() if order.authority else ""
    deal = deal_rooms(order.rooms, order.seats, order.seed)
    people = _draw_people(deal, TicketIssuer(keys.ticket_private, entropy=os.urandom), order, now_ms, say)
    gatherings = [Gathering(draw_conversation(now_ms), people[room.start : room.stop]) for room in deal]
    rooms = _rooms(deal, [gathering.conversation for gathering in gatherings])
    # The file first: people whose keys are nowhere would be of no use, and in the way of the next crowd.
    write_crowd(Path(order.out), _crowd(order, keys, people, rooms, authority))
    say(f"{len(people):,} people go into {len(COLUMNS)} tables")
    try:
        rows = partial(rows_of, people=people, gatherings=gatherings, pepper=keys.pepper)
        count = trio.run(_on_island, copy_tables, order.database_url, COLUMNS, rows)
    except BaseException:
        Path(order.out).unlink()
        raise
    took = max(time.monotonic() - began, 0.001)
    pace = f"{took:.1f} s, {len(people) / took:,.0f} people a second"
    say(f"{len(people):,} people in {len(rooms):,} conversations, {count:,} rows: {pace}")


def _draw_people(deal: list[range], issuer: TicketIssuer, order: Order, now_ms: int, say: Say) -> list[Person]:
    people: list[Person] = []
    for room in deal:
        # In a channel everybody would be told of everybody: a thousand members are a million receipts a message.
        discreet = len(room) > MEMBERS_PER_CONVERSATION
        for number in room:
            if not number % EACH:
                say(f"{number:,} of {deal[-1].stop:,} people have keys and tickets")
            people.append(draw_person(issuer, now_ms, prekeys=order.prekeys, discreet=discreet))
    return people


async def _on_island(call: Callable[[Unpack[Ts]], Coroutine[Any, Any, T]], *arguments: *Ts) -> T:
    async with open_island() as island:
        return await island.run(call, *arguments)


def _rooms(deal: list[range], conversations: list[ConversationId]) -> tuple[Room, ...]:
    return tuple(
        Room(conversation, tuple(seats), 1, len(seats) > 2)  # noqa: PLR2004 - two are a dm
        for conversation, seats in zip(conversations, deal, strict=True)
    )


def _crowd(order: Order, keys: ApiKeys, people: list[Person], rooms: tuple[Room, ...], authority: str) -> Crowd:
    place = {seat: number for number, room in enumerate(rooms) for seat in room.members}
    return Crowd(
        relay_url=order.relay_url,
        api_url=order.api_url,
        relay_key=keys.relay_public,
        payload_key=os.urandom(KEY_BYTES),
        tickets_expire_ms=people[0].tickets_expire_ms,
        seats=tuple(_seat(person, place[number]) for number, person in enumerate(people)),
        rooms=rooms,
        authority=authority,
    )


def _seat(person: Person, room: int) -> Seat:
    return Seat(
        account=person.device.account,
        profile=person.profile,
        device=person.device.id,
        noise_private=person.noise.private_bytes(),
        ticket=person.ticket,
        access_token=person.access.spell(),
        rooms=(room,),
    )


def main() -> int:
    """Carry out the order on standard input. Returns the exit code."""
    try:
        seed(msgspec.json.decode(sys.stdin.buffer.read(), type=Order), _say)
    except BaseException as error:
        cause = _inmost(error)
        if not isinstance(cause, EXPECTED):
            raise
        # Of what Postgres says its first argument only: DETAIL may hold the values of rows.
        _say(f"the database refused: {cause.args[0]}" if isinstance(cause, asyncpg.PostgresError) else str(cause))
        return FAILED
    return 0


def _say(words: str) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(Said(words)) + b"\n")
    sys.stdout.buffer.flush()


def _inmost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main())
