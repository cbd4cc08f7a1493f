"""Invite links in Postgres."""

from collections.abc import Sequence
from typing import Final

from domain.talk.model import Link
from storage.database import Connection
from storage.postgres.locks import lock_account
from storage.postgres.transactions import Transactions
from varde_contract.ids import AccountId, LinkId, ProfileId


class PostgresLinks:
    """Keeps the promises of `domain.talk.ports.LinkStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def add(self, link: Link, now_ms: int, most: int) -> Link | None:
        """Keep a link, unless the account has enough."""
        return await self._transactions.run(_add, link, now_ms, most)

    async def list_live(self, account: AccountId, now_ms: int) -> Sequence[Link]:
        """Return the links that can be used."""
        return await self._transactions.ask(_list_live, account, now_ms)

    async def list_of(self, account: AccountId, profile: ProfileId) -> Sequence[Link]:
        """Return all links to a profile."""
        return await self._transactions.ask(_list_of, account, profile)

    async def use(self, account: AccountId, link: LinkId, by: AccountId, now_ms: int) -> bool:
        """Use up one use."""
        return await self._transactions.run(_use, account, link, by, now_ms)

    async def remove(self, account: AccountId, link: LinkId) -> None:
        """Forget a link."""
        await self._transactions.ask(_remove, account, link)


_COUNT: Final = "SELECT count(*) FROM link WHERE account_id = $1 AND link_id <> $2 AND expires_ms > $3"
_ADD: Final = """
    INSERT INTO link (account_id, link_id, profile_id, digest, uses, expires_ms, made_ms)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (account_id, link_id) DO NOTHING
"""
_FIND: Final = """
    SELECT account_id, link_id, profile_id, digest, uses, expires_ms, made_ms FROM link
    WHERE account_id = $1 AND link_id = $2
"""


async def _add(connection: Connection, link: Link, now_ms: int, most: int) -> Link | None:
    await lock_account(connection, link.account)  # two at once would each count without the other
    if await connection.fetchval(_COUNT, link.account, link.id, now_ms) >= most:
        return None
    values = link.account, link.id, link.profile, link.digest, link.uses, link.expires_ms, link.made_ms
    await connection.execute(_ADD, *values)
    row = await connection.fetchrow(_FIND, link.account, link.id)
    assert row is not None, "it was just put there, and the account is locked"
    return Link(*row)


_LIST_LIVE: Final = """
    SELECT account_id, link_id, profile_id, digest, uses, expires_ms, made_ms FROM link
    WHERE account_id = $1 AND expires_ms > $2 AND uses > 0
    ORDER BY made_ms DESC, link_id DESC
"""


async def _list_live(connection: Connection, account: AccountId, now_ms: int) -> list[Link]:
    return [Link(*row) for row in await connection.fetch(_LIST_LIVE, account, now_ms)]


_LIST_OF: Final = """
    SELECT account_id, link_id, profile_id, digest, uses, expires_ms, made_ms FROM link
    WHERE account_id = $1 AND profile_id = $2
"""


async def _list_of(connection: Connection, account: AccountId, profile: ProfileId) -> list[Link]:
    return [Link(*row) for row in await connection.fetch(_LIST_OF, account, profile)]


# The row's lock is what of two one gets the last use by.
_LOCK: Final = """
    SELECT uses FROM link WHERE account_id = $1 AND link_id = $2 AND expires_ms > $3 FOR NO KEY UPDATE
"""
_USED: Final = "SELECT true FROM link_use WHERE account_id = $1 AND link_id = $2 AND user_id = $3"
_TAKE: Final = "UPDATE link SET uses = uses - 1 WHERE account_id = $1 AND link_id = $2"
_NOTE: Final = "INSERT INTO link_use (account_id, link_id, user_id) VALUES ($1, $2, $3)"


async def _use(connection: Connection, account: AccountId, link: LinkId, by: AccountId, now_ms: int) -> bool:
    left = await connection.fetchval(_LOCK, account, link, now_ms)
    if left is None:
        return False
    if await connection.fetchval(_USED, account, link, by):
        return True
    if left == 0:
        return False
    await connection.execute(_TAKE, account, link)
    await connection.execute(_NOTE, account, link, by)
    return True


_REMOVE: Final = "DELETE FROM link WHERE account_id = $1 AND link_id = $2"


async def _remove(connection: Connection, account: AccountId, link: LinkId) -> None:
    await connection.execute(_REMOVE, account, link)
