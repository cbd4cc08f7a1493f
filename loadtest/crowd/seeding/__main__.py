"""The program `python -m loadtest.crowd.seeding`: an order comes in on standard input, lines of progress go out."""

import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import msgspec
import trio

from domain.people.tickets import TicketIssuer
from loadtest.crowd.crowd import Crowd, CrowdError, Room, Seat, deal_rooms, write_crowd
from loadtest.crowd.order import FAILED, Order, Said
from loadtest.crowd.seeding.rows import COLUMNS, KEY_BYTES, Rows
from storage.island import open_island
from storage.keys import KeyFileError, read_api_keys
from storage.migrate import SchemaError, require_current
from varde_contract.exception_groups import first_cause

EXPECTED: Final = (CrowdError, SchemaError, KeyFileError, OSError, ValueError, asyncpg.PostgresError)
"""What a person can mend."""
_EACH: Final = 1_000  # people between two lines of progress
_CONNECT_SECONDS: Final = 30.0
_TABLE_SECONDS: Final = 600.0
T = TypeVar("T")


def seed(order: Order, say: Callable[[str], None]) -> None:
    """Make the people, write them into the database, and then into the file."""
    began, now_ms = time.monotonic(), time.time_ns() // 1_000_000
    keys = read_api_keys(Path(order.keys))
    # What can go wrong first, before a minute of work.
    _connected(order.database_url, lambda connection: _refuse_unfit(connection, order))
    if not Path(order.out).parent.is_dir():
        raise CrowdError(f"{Path(order.out).parent} is not a folder")
    authority = Path(order.authority).read_text() if order.authority else ""
    rows = Rows(TicketIssuer(keys.ticket_private, entropy=os.urandom), keys.pepper, now_ms, order.prekeys)
    seats, rooms, told = list[Seat](), list[Room](), 0
    for number, members in enumerate(deal_rooms(order.rooms, order.seats, order.seed)):
        if members.start >= told:
            say(f"{members.start:,} of {order.seats:,} people have keys and tickets")
            told += _EACH
        new, room = rows.add_room(number, members)
        seats += new
        rooms.append(room)
    crowd = Crowd(
        relay_url=order.relay_url,
        api_url=order.api_url,
        relay_key=keys.relay_public,
        payload_key=os.urandom(KEY_BYTES),
        tickets_expire_ms=rows.tickets_expire_ms,
        seats=tuple(seats),
        rooms=tuple(rooms),
        authority=authority,
    )
    # The file first: people whose keys are nowhere would be of no use, and in the way of the next crowd.
    write_crowd(Path(order.out), crowd)
    say(f"{len(seats):,} people go into {len(COLUMNS)} tables")
    try:
        count = _connected(order.database_url, lambda connection: _copy(connection, rows))
    except BaseException:
        Path(order.out).unlink()
        raise
    took = max(time.monotonic() - began, 0.001)
    pace = f"{took:.1f} s, {len(seats) / took:,.0f} people a second"
    say(f"{len(seats):,} people in {len(rooms):,} conversations, {count:,} rows: {pace}")


def _connected(url: str, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Do something with a connection to the database. Raises CrowdError when there is none."""

    async def on_island() -> T:
        try:
            connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
        except OSError as error:  # a TimeoutError, too; neither text holds the URL
            raise CrowdError(f"the database cannot be reached: {error.strerror or 'no answer'}") from None
        try:
            return await work(connection)
        finally:
            await connection.close()

    async def run() -> T:
        async with open_island() as island:
            return await island.run(on_island)

    return trio.run(run)


async def _refuse_unfit(connection: Any, order: Order) -> None:
    await require_current(connection)
    if not order.into_existing and await connection.fetchval("SELECT EXISTS (SELECT FROM account)"):
        raise CrowdError("people live in this database already: say --into-existing to add a crowd to them")


async def _copy(connection: Any, rows: Rows) -> int:
    """Fill the tables in order, all in one transaction, and return the number of rows."""
    async with connection.transaction():
        for table, columns in COLUMNS.items():
            records = rows.tables[table]
            await connection.copy_records_to_table(
                table, records=records, columns=columns.split(), timeout=_TABLE_SECONDS
            )
    await connection.execute("ANALYZE", timeout=_TABLE_SECONDS)
    return sum(map(len, rows.tables.values()))


def main() -> int:
    """Carry out the order on standard input. Returns the exit code."""
    try:
        seed(msgspec.json.decode(sys.stdin.buffer.read(), type=Order), _say)
    except BaseException as error:
        cause = first_cause(error)
        if not isinstance(cause, EXPECTED):
            raise
        # Of what Postgres says its first argument only: DETAIL may hold the values of rows.
        _say(f"the database refused: {cause.args[0]}" if isinstance(cause, asyncpg.PostgresError) else str(cause))
        return FAILED
    return 0


def _say(words: str) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(Said(words)) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
