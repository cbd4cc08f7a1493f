"""User names in Postgres, by keyed digests."""

from collections.abc import Sequence
from typing import Final

from domain.people.ports import NameFault, UserName
from storage.database import Connection
from storage.postgres.locks import lock_account
from storage.postgres.transactions import Transactions, Undo
from varde_contract.ids import AccountId, ProfileId


class PostgresUserNames:
    """Keeps the promises of `domain.people.ports.UserNameStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def put(
        self, name: UserName, now_ms: int, *, held_ms: int, most: int, known_as: Sequence[bytes] = ()
    ) -> NameFault | None:
        """Give a profile a name."""
        return await self._transactions.run(_put, name, now_ms, now_ms - held_ms, most, known_as)

    async def remove(self, account: AccountId, profile: ProfileId, now_ms: int) -> None:
        """Take a profile's name from it."""
        await self._transactions.ask(_remove, account, profile, now_ms)

    async def find(self, skeleton: bytes) -> UserName | None:
        """Return the name that somebody has."""
        return await self._transactions.ask(_find, skeleton)

    async def rename(self, before: bytes, name: UserName) -> None:
        """Let a name be known by other digests."""
        await self._transactions.run(_rename, before, name)


_FREE: Final = """
    UPDATE name_account SET freed_ms = $3 WHERE account_id = $1 AND profile_id = $2 AND freed_ms IS NULL
"""
_FORGET: Final = "DELETE FROM name_account WHERE account_id = $1 AND freed_ms <= $2"
_TAKE: Final = """
    INSERT INTO name_account (skeleton, digest, account_id, profile_id) VALUES ($1, $2, $3, $4)
    ON CONFLICT (skeleton) DO UPDATE SET
        digest = excluded.digest, account_id = excluded.account_id, profile_id = excluded.profile_id, freed_ms = NULL
    WHERE name_account.account_id = excluded.account_id OR name_account.freed_ms <= $5
    RETURNING true
"""
_TAKEN_AS: Final = """
    SELECT true FROM name_account
    WHERE skeleton = ANY ($1::bytea[]) AND account_id <> $2 AND (freed_ms IS NULL OR freed_ms > $3)
"""
_COUNT: Final = "SELECT count(*) FROM name_account WHERE account_id = $1"


async def _put(
    connection: Connection, name: UserName, now_ms: int, held_ms: int, most: int, known_as: Sequence[bytes]
) -> NameFault | None:
    await lock_account(connection, name.account)  # two at once would give one profile two names
    await connection.execute(_FREE, name.account, name.profile, now_ms)
    await connection.execute(_FORGET, name.account, held_ms)
    if known_as and await connection.fetchval(_TAKEN_AS, list(known_as), name.account, held_ms):
        raise Undo(NameFault.TAKEN)
    values = name.skeleton, name.digest, name.account, name.profile
    if not await connection.fetchval(_TAKE, *values, held_ms):
        raise Undo(NameFault.TAKEN)
    if await connection.fetchval(_COUNT, name.account) > most:
        raise Undo(NameFault.TOO_MANY)
    return None


async def _remove(connection: Connection, account: AccountId, profile: ProfileId, now_ms: int) -> None:
    await connection.execute(_FREE, account, profile, now_ms)


_FIND: Final = """
    SELECT account_id, profile_id, digest, skeleton FROM name_account WHERE skeleton = $1 AND freed_ms IS NULL
"""


async def _find(connection: Connection, skeleton: bytes) -> UserName | None:
    row = await connection.fetchrow(_FIND, skeleton)
    return None if row is None else UserName(*row)


_RENAME: Final = """
    UPDATE name_account SET skeleton = $2, digest = $3 WHERE skeleton = $1 AND freed_ms IS NULL
        AND NOT EXISTS (SELECT FROM name_account WHERE skeleton = $2)
"""


async def _rename(connection: Connection, before: bytes, name: UserName) -> None:
    await connection.execute(_RENAME, before, name.skeleton, name.digest)
