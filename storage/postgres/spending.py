"""What all processes have given of budgets, in Postgres."""

from collections.abc import Sequence
from typing import Final

from domain.ports import Spent
from storage.database import Connection
from storage.postgres.transactions import Transactions


class PostgresSpending:
    """Keeps the promises of `domain.ports.SpendingStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def add(self, spent: Sequence[Spent]) -> Sequence[float]:
        """Add, and return when each bucket is full."""
        return await self._transactions.ask(_add, spent)


# The clock of the database, so that those of the processes need not agree.
_NOW: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_FORGET: Final = "DELETE FROM spending WHERE full_ms <= $1"
# In the order of the key, as everybody does: two reports at once wait for each other's rows, and not in a circle.
_ADD: Final = """
    INSERT INTO spending AS before (key, full_ms)
    SELECT key, $1 + spent FROM unnest($2::bytea[], $3::bigint[]) AS given (key, spent) ORDER BY key
    ON CONFLICT (key) DO UPDATE SET full_ms = greatest(before.full_ms, $1) + excluded.full_ms - $1
    RETURNING key, full_ms - $1
"""


async def _add(connection: Connection, spent: Sequence[Spent]) -> list[float]:
    now = await connection.fetchval(_NOW)
    await connection.execute(_FORGET, now)
    given = [round(each.milliseconds) for each in spent]
    rows = await connection.fetch(_ADD, now, [each.key for each in spent], given)
    full_in = {row[0]: row[1] for row in rows}
    return [float(full_in[each.key]) for each in spent]
