"""Accounts in Postgres."""

from typing import Final

from domain.people import model as people
from storage.database import Connection
from storage.postgres.transactions import Transactions
from varde_contract.ids import AccountId


class PostgresAccounts:
    """Keeps the promises of `domain.people.ports.AccountStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def find(self, account: AccountId) -> people.Account | None:
        """Return the account."""
        return await self._transactions.ask(_find, account)


_FIND: Final = "SELECT account_id, created_ms, list_number FROM account WHERE account_id = $1"


async def _find(connection: Connection, account: AccountId) -> people.Account | None:
    row = await connection.fetchrow(_FIND, account)
    return None if row is None else people.Account(*row)
