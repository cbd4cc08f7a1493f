"""Sessions in Postgres."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import astuple, replace

from domain.people import model as people
from storage.database import Connection
from storage.postgres.transactions import Transactions
from varde_contract.ids import AccountId, SessionId


class PostgresSessions:
    """Keeps the promises of `domain.people.ports.SessionStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def add(self, session: people.Session) -> None:
        """Store a new session."""
        await self._transactions.ask(_add, session)

    async def find(self, account: AccountId, session: SessionId) -> people.Session | None:
        """Return the session."""
        return await self._transactions.ask(_find, account, session)

    async def rotate(self, session: people.Session, *, old_refresh_digest: bytes) -> bool:
        """Replace digests and times, once for each refresh digest."""
        return await self._transactions.ask(_rotate, session, old_refresh_digest)

    async def mark_used(self, account: AccountId, session: SessionId, access_digest: bytes) -> None:
        """Note that tokens arrived."""
        await self._transactions.ask(_mark_used, account, session, access_digest)

    async def end(self, account: AccountId, session: SessionId) -> bool:
        """Delete the session."""
        return await self._transactions.ask(_end, account, session)

    async def list_live(self, account: AccountId, now_ms: int) -> Sequence[people.Session]:
        """Return the sessions whose refresh token is still good, oldest first."""
        return await self._transactions.ask(_list_live, account, now_ms)


# An operator who suspends the account meanwhile waits for this share of its row, and then ends this session, too; one
# who came before leaves nothing to insert for, and the tokens are those of no session.
_ADD: Final = """
    INSERT INTO session (
        account_id, session_id, device_id, access_digest, access_expires_ms, refresh_digest, refresh_expires_ms,
        created_ms, refreshed_ms, parent_digest, spent_digests, used
    )
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12
    FROM account WHERE account_id = $1 AND suspended_ms IS NULL FOR SHARE
"""


async def _add(connection: Connection, session: people.Session) -> None:
    await connection.execute(_ADD, *astuple(session))


_FIND: Final = """
    SELECT account_id, session_id, device_id, access_digest, access_expires_ms, refresh_digest, refresh_expires_ms,
           created_ms, refreshed_ms, parent_digest, spent_digests, used
    FROM session WHERE account_id = $1 AND session_id = $2
"""


async def _find(connection: Connection, account: AccountId, session: SessionId) -> people.Session | None:
    row = await connection.fetchrow(_FIND, account, session)
    return None if row is None else _session(row)


def _session(row: Any) -> people.Session:
    session = people.Session(*row)
    return replace(session, spent_digests=tuple(session.spent_digests))


# The old digest is part of the condition, so of two refreshes with the same token one finds no row. A read before it
# would have to lock, and every refresh would take two round trips.
_ROTATE: Final = """
    UPDATE session
    SET access_digest = $3, access_expires_ms = $4, refresh_digest = $5, refresh_expires_ms = $6, refreshed_ms = $7,
        parent_digest = $8, spent_digests = $9, used = $11
    WHERE account_id = $1 AND session_id = $2 AND refresh_digest = $10
    RETURNING true
"""


async def _rotate(connection: Connection, session: people.Session, old_refresh_digest: bytes) -> bool:
    rotated = await connection.fetchval(
        _ROTATE,
        session.account,
        session.id,
        session.access_digest,
        session.access_expires_ms,
        session.refresh_digest,
        session.refresh_expires_ms,
        session.refreshed_ms,
        session.parent_digest,
        session.spent_digests,
        old_refresh_digest,
        session.used,
    )
    return rotated is not None


_MARK_USED: Final = """
    UPDATE session SET used = true WHERE account_id = $1 AND session_id = $2 AND access_digest = $3 AND NOT used
"""


async def _mark_used(connection: Connection, account: AccountId, session: SessionId, access_digest: bytes) -> None:
    await connection.execute(_MARK_USED, account, session, access_digest)


_END: Final = "DELETE FROM session WHERE account_id = $1 AND session_id = $2 RETURNING true"


async def _end(connection: Connection, account: AccountId, session: SessionId) -> bool:
    return await connection.fetchval(_END, account, session) is not None


_LIST_LIVE: Final = """
    SELECT account_id, session_id, device_id, access_digest, access_expires_ms, refresh_digest, refresh_expires_ms,
           created_ms, refreshed_ms, parent_digest, spent_digests, used
    FROM session WHERE account_id = $1 AND refresh_expires_ms > $2
    ORDER BY created_ms, session_id
"""


async def _list_live(connection: Connection, account: AccountId, now_ms: int) -> list[people.Session]:
    return [_session(row) for row in await connection.fetch(_LIST_LIVE, account, now_ms)]
