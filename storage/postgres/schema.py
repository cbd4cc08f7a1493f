"""Whether the schema still fits a program that runs."""

from collections.abc import Sequence

from storage.database import Connection
from storage.migrate import Migration, SchemaError, read_migrations, require_fitting
from storage.postgres.transactions import Transactions


class PostgresSchema:
    """Keeps the promise of `domain.ports.SchemaStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._migrations = read_migrations()

    async def fits(self) -> bool:
        """Whether this program still works on the database's schema."""
        return await self._transactions.ask(_fits, self._migrations)


async def _fits(connection: Connection, migrations: Sequence[Migration]) -> bool:
    try:
        await require_fitting(connection, migrations)
    except SchemaError:
        return False
    return True
