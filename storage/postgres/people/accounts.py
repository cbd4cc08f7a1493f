"""Accounts in Postgres."""

from collections.abc import Sequence
from typing import Final

from domain.people import model as people
from storage.database import Connection
from storage.postgres.people.profiles import put_back
from storage.postgres.transactions import Transactions
from varde_contract.ids import AccountId


class PostgresAccounts:
    """Keeps the promises of `domain.people.ports.AccountStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def find(self, account: AccountId) -> people.Account | None:
        """Return the account."""
        return await self._transactions.ask(_find, account)

    async def put_back(self, account: AccountId, profiles: Sequence[people.Profile]) -> None:
        """Let an account and its profiles be known again."""
        await self._transactions.run(_put_back, account, profiles)


_FIND: Final = "SELECT account_id, created_ms, list_number FROM account WHERE account_id = $1"


async def _find(connection: Connection, account: AccountId) -> people.Account | None:
    row = await connection.fetchrow(_FIND, account)
    return None if row is None else people.Account(*row)


# Without an address: whose it was is lost. The account is there for what its devices signed.
_PUT_BACK: Final = "INSERT INTO account (account_id, created_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING"


async def _put_back(connection: Connection, account: AccountId, profiles: Sequence[people.Profile]) -> None:
    await connection.execute(_PUT_BACK, account, profiles[0].created_ms if profiles else 0)
    for profile in profiles:
        await put_back(connection, profile)
