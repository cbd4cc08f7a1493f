"""Tells whether a pooler between us and Postgres hands one session to many clients, which nothing here survives."""

from typing import Final

import asyncpg

from settings.environment import ConfigError
from storage.database import Connection

_WHO: Final = "SELECT pg_backend_pid()"
_REFUSED: Final = ConfigError(
    "the database is behind a pooler that shares sessions: set pool_mode = session (docs/operations/postgres.md)"
)
_ASKED: Final = (0, 1, 1, 0, 0, 1)
"""Which of two connections asks. Whatever way a quiet pooler deals its sessions, one of the two then meets another one
than before, or both meet the same."""


async def refuse_shared_sessions(connection: Connection, url: str) -> None:
    """Raise ConfigError for a pooler in transaction or statement mode.

    LISTEN, prepared statements and locks belong to a session. With such a pooler they go to somebody else, and mostly
    without an error.
    """
    try:
        if await connection.fetchval(_WHO) == connection.get_server_pid():
            return  # who answers is who was met at first: there is no pooler
        other = await asyncpg.connect(url)
        try:
            both: tuple[Connection, Connection] = (connection, other)
            met: tuple[set[int], set[int]] = (set(), set())
            for asked in _ASKED:
                met[asked].add(await both[asked].fetchval(_WHO))
        finally:
            await other.close()
    # A statement that was prepared in a session which is somebody else's now.
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        raise _REFUSED from None
    if len(met[0]) > 1 or len(met[1]) > 1 or met[0] & met[1]:
        raise _REFUSED
