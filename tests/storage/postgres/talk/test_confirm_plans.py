"""What a batch of confirmations takes of the database, whatever the tables held when its plans were made."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest

from settings.storage import DatabaseUrl, StorageSettings
from storage.database import Connection
from storage.island import Island
from storage.postgres.pool import open_pool
from storage.postgres.transactions import Transactions
from tests.ids import id_of

CROWD, BATCH, MESSAGES = 1_000, 200, 2
ROWS, PAGES = 60, 60
"""For one confirmation, in both statements together: half as much again as they take, far from one for each member."""

_OPEN = "INSERT INTO conversation (conversation_id, kind, head, created_ms) SELECT unnest($1::uuid[]), 'group', $2, 0"
_POSITIONS = "INSERT INTO delivery SELECT talk, device, 1, 0 FROM unnest($1::uuid[], $2::uuid[]) AS seat (talk, device)"
_MESSAGES = """
    INSERT INTO message
    SELECT talk, seq, uuidv7(), uuidv7(), $2, $2, 0
    FROM unnest($1::uuid[]) AS talk, generate_series(1, $3::bigint) AS seq
"""
_CIPHERS = """
    INSERT INTO cipher (conversation_id, seq, for_all, sealed)
    SELECT conversation_id, seq, true, 'sealed' FROM message
    WHERE conversation_id = ANY ($1)
"""
_LEFT = "SELECT count(*) FROM cipher WHERE conversation_id = ANY ($1)"
_SOURCE = "SELECT prosrc FROM pg_proc WHERE proname = $1"
_EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE"

Seats = list[tuple[UUID, UUID]]
SENDER = id_of(1)


def room(number: int, members: int) -> Seats:
    """One conversation, its sender first. Ids are scattered, as random ones are."""
    talk = id_of(number)
    return [(talk, SENDER), *((talk, id_of((7919 * member + number) << 40)) for member in range(1, members))]


def pairs(number: int, count: int) -> Seats:
    """Conversations of two: the sender of the first, its reader, the sender of the second, and so on."""
    return [seat for each in range(count) for seat in room(number + each, 2)]


async def settle(connection: Connection, seats: Seats) -> None:
    """Open these conversations, with some messages of their sender that nobody has confirmed."""
    talks = list({talk for talk, _ in seats})
    await connection.execute(_OPEN, talks, MESSAGES)
    await connection.execute(_POSITIONS, [talk for talk, _ in seats], [device for _, device in seats])
    await connection.execute(_MESSAGES, talks, SENDER, MESSAGES)
    await connection.execute(_CIPHERS, talks)


async def prepare(connection: Connection) -> None:
    """Prepare the statements as the functions do, out of the functions' own source."""
    confirm = await connection.fetchval(_SOURCE, "positions_confirm")
    move = confirm[confirm.index("WITH moved") : confirm.index("SELECT array_agg")]
    move = move.replace("conversations, devices, asked_uptos", "$1, $2, $3")
    await connection.execute(f"PREPARE move (uuid[], uuid[], bigint[]) AS {move} TABLE moved")
    forget = await connection.fetchval(_SOURCE, "positions_forget")
    forget = forget[forget.index("BEGIN") + len("BEGIN") : forget.rindex("END")]
    forget = forget.replace("conversations, devices, afters, uptos", "$1, $2, $3, $4")
    await connection.execute(f"PREPARE forget (uuid[], uuid[], bigint[], bigint[]) AS {forget}")


async def explain(connection: Connection, name: str, *columns: Iterable[object]) -> Counter[str]:
    """Run a prepared statement; return how many rows and pages that took."""
    arrays = ["'{" + ",".join(map(str, column)) + "}'" for column in columns]
    (plan,) = json.loads(await connection.fetchval(f"{_EXPLAIN} {name} ({', '.join(arrays)})"))
    top = plan["Plan"]
    return Counter(rows=rows_of(top), pages=top["Shared Hit Blocks"] + top["Shared Read Blocks"])


def rows_of(node: dict[str, Any]) -> int:
    """All the rows that a plan's nodes handed on, or looked at and dropped."""
    each: float = sum(count for name, count in node.items() if name.startswith(("Actual Rows", "Rows Removed")))
    return round(each * int(node["Actual Loops"])) + sum(map(rows_of, node.get("Plans", ())))


async def confirm(connection: Connection, seats: Seats) -> Counter[str]:
    """Confirm all messages in one batch; return what that took."""
    talks, devices = zip(*seats, strict=True)
    uptos = [MESSAGES] * len(seats)
    moved = await explain(connection, "move", talks, devices, uptos)
    return moved + await explain(connection, "forget", talks, devices, [0] * len(seats), uptos)


async def live(connection: Connection, early: Seats) -> None:
    """Confirm with plans that were made over `early`, in one large conversation and in many small ones."""
    crowd, couples = room(1 << 32, CROWD), pairs(2 << 32, BATCH)
    await settle(connection, early)
    await connection.execute("ANALYZE conversation, delivery, message, cipher")
    await prepare(connection)
    await confirm(connection, [(SENDER, SENDER)])
    await settle(connection, crowd)
    await settle(connection, couples)
    for seats, left in (crowd[-BATCH:], MESSAGES), (couples[1::2], 0):
        took = await confirm(connection, seats)
        assert took["rows"] < BATCH * ROWS
        assert took["pages"] < BATCH * PAGES
        assert await connection.fetchval(_LEFT, [talk for talk, _ in seats]) == left


@pytest.mark.parametrize("early", [[], room(1, CROWD), pairs(1, CROWD)], ids=["nothing", "crowd", "pairs"])
async def test_a_confirmation_is_no_look_at_everybody(island: Island, config: StorageSettings, early: Seats) -> None:
    """A batch takes what its length and one look at each conversation's positions take, with plans of any age."""
    assert isinstance(config.database, DatabaseUrl)
    async with open_pool(island, config.database.url, least=1, most=1) as pool:
        await Transactions(island, pool).ask(live, early)
