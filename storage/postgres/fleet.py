"""The relay nodes, in Postgres."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import fields

from domain.fleet.model import FORGET_MS, Action, Node, NodeReport, NodeState, Order
from storage.database import Connection
from storage.postgres.transactions import Transactions


class PostgresNodes:
    """Keeps the promises of `domain.fleet.ports.NodeStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def beat(self, report: NodeReport) -> Sequence[Node]:
        """Renew a node's lease; return every node of the last minutes."""
        return await self._transactions.ask(_beat, report)

    async def leave(self, name: str) -> None:
        """Forget a node that has ended in good order."""
        await self._transactions.ask(_leave, name)

    async def list_nodes(self) -> Sequence[Node]:
        """Return every node of the last minutes."""
        return await self._transactions.ask(_list)

    async def order(self, name: str, action: Action, percent: int = 0) -> int | None:
        """Tell a node what is wanted of it; return the number of its order."""
        return await self._transactions.ask(_order, name, action, percent)


# clock_timestamp() and not now(), as for the leases of jobs: who waited for a row must see the time after the wait.
_NOW: Final = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_COLUMNS: Final = tuple(field.name for field in fields(NodeReport))
_ROW: Final = f"{', '.join(_COLUMNS)}, order_number, action, percent, {_NOW} - seen_ms AS age_ms"

# The rows of the dead go with the beat of the living, so that nobody has to sweep. A node never deletes its own row
# here: one statement must not touch a row twice.
_BEAT: Final = f"""
    WITH forgotten AS (
        DELETE FROM relay_node WHERE seen_ms < {_NOW} - {FORGET_MS} AND name <> $1
    ), own AS (
        INSERT INTO relay_node ({", ".join(_COLUMNS)}, seen_ms)
        VALUES ({", ".join(f"${number}" for number in range(1, len(_COLUMNS) + 1))}, {_NOW})
        ON CONFLICT (name) DO UPDATE SET
            {", ".join(f"{name} = excluded.{name}" for name in (*_COLUMNS[1:], "seen_ms"))}
        RETURNING {_ROW}
    )
    SELECT * FROM own UNION ALL
    SELECT {_ROW} FROM relay_node WHERE name <> $1
"""  # noqa: S608 - made of names in this file


async def _beat(connection: Connection, report: NodeReport) -> Sequence[Node]:
    values = (getattr(report, name) for name in _COLUMNS)
    return [_node(row) for row in await connection.fetch(_BEAT, *values)]


async def _leave(connection: Connection, name: str) -> None:
    await connection.execute("DELETE FROM relay_node WHERE name = $1", name)


async def _list(connection: Connection) -> Sequence[Node]:
    return [_node(row) for row in await connection.fetch(f"SELECT {_ROW} FROM relay_node ORDER BY name")]  # noqa: S608 - as above


# A drain is never replaced: the node may have begun it, and cannot go back. The answer is then the number of that
# order.
_ORDER: Final = """
    UPDATE relay_node SET order_number = order_number + 1, action = $2, percent = $3
    WHERE name = $1 AND action <> 'drain'
    RETURNING order_number
"""
_ORDERED: Final = "SELECT order_number FROM relay_node WHERE name = $1"


async def _order(connection: Connection, name: str, action: Action, percent: int) -> int | None:
    number: int | None = await connection.fetchval(_ORDER, name, action, percent)
    return number if number is not None else await connection.fetchval(_ORDERED, name)


def _node(row: Any) -> Node:
    values = {name: row[name] for name in _COLUMNS}
    report = NodeReport(**values | {"state": NodeState(row["state"])})
    return Node(report, Order(row["order_number"], Action(row["action"]), row["percent"]), row["age_ms"])
