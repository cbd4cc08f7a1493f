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

    async def set_root_key(self, account: AccountId, root_key: bytes) -> bool:
        """Set the root key once."""
        return await self._transactions.ask(_set_root_key, account, root_key)


_FIND: Final = "SELECT account_id, created_ms, root_key FROM account WHERE account_id = $1"


async def _find(connection: Connection, account: AccountId) -> people.Account | None:
    row = await connection.fetchrow(_FIND, account)
    return None if row is None else people.Account(*row)


_SET_ROOT_KEY: Final = """
    UPDATE account SET root_key = coalesce(root_key, $2) WHERE account_id = $1
    RETURNING root_key = $2
"""


async def _set_root_key(connection: Connection, account: AccountId, root_key: bytes) -> bool:
    return bool(await connection.fetchval(_SET_ROOT_KEY, account, root_key))
