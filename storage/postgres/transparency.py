"""The transparency log in Postgres. An append is one transaction, which begins by moving the newest checkpoint."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import trio

from domain.ports import StoreUnavailable
from domain.transparency.model import Backlog, Logged, Pending, SignedHead
from storage.database import Connection
from storage.postgres.transactions import Transactions, Undo
from varde_contract.ids import AccountId
from varde_contract.transparency.entry import Entry
from varde_contract.transparency.tiles import Growth, Tile

REPLICA_PAUSE: Final = 5.0
"""Seconds."""


class PostgresLog:
    """Keeps the promises of `domain.transparency.ports.LogStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def enqueue(self, entries: Sequence[Entry]) -> None:
        """Let entries wait."""
        await self._transactions.ask(_enqueue, entries)

    async def pending(self, limit: int) -> Sequence[Pending]:
        """Return what waits."""
        return await self._transactions.ask(_pending, limit)

    async def head(self, *, cosigned: bool = False) -> SignedHead | None:
        """Return a checkpoint."""
        return await self._transactions.ask(_head, cosigned)

    async def append(
        self, before: SignedHead | None, pending: Sequence[Pending], growth: Sequence[Growth], head: SignedHead
    ) -> bool:
        """Move entries from the queue into the log, with tiles and checkpoint; False when another worker has."""
        return await self._transactions.run(_append, before, pending, growth, head)

    async def keep_cosigned(self, head: SignedHead) -> None:
        """Keep a cosigned checkpoint."""
        await self._transactions.ask(_keep_cosigned, head)

    async def tiles(self, tiles: Iterable[Tile]) -> dict[Tile, bytes]:
        """Return tiles."""
        return await self._transactions.ask(_tiles, list(tiles))

    async def entries(self, first: int, count: int) -> Sequence[Entry]:
        """Return entries by their place in the log."""
        return await self._transactions.ask(_entries, first, count)

    async def find(self, account: AccountId, first: int, limit: int) -> Sequence[Logged]:
        """Return an account's entries."""
        return await self._transactions.ask(_find, account, first, limit)

    async def backlog(self) -> Backlog:
        """Return what an alert asks for."""
        return await self._transactions.ask(_backlog)


class ReplicaLog:
    """Keeps the promises of `domain.transparency.ports.StaleLogStore`, on a standby of Postgres.

    One that does not answer is left alone for a while: whoever asks would wait for it each time before the primary.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._log = PostgresLog(transactions)
        self._away_until = 0.0

    async def tiles(self, tiles: Iterable[Tile]) -> dict[Tile, bytes]:
        """Return tiles."""
        with self._noticing():
            return await self._log.tiles(tiles)

    async def entries(self, first: int, count: int) -> Sequence[Entry]:
        """Return entries by their place in the log."""
        with self._noticing():
            return await self._log.entries(first, count)

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        if trio.current_time() < self._away_until:
            raise StoreUnavailable("the replica did not answer a moment ago")
        try:
            yield
        except StoreUnavailable:
            self._away_until = trio.current_time() + REPLICA_PAUSE
            raise


_ENQUEUE: Final = """
    INSERT INTO log_pending (account_id, number, digest) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[])
"""


async def _enqueue(connection: Connection, entries: Sequence[Entry]) -> None:
    await connection.execute(_ENQUEUE, *_columns(entries))


_PENDING: Final = "SELECT place, account_id, number, digest FROM log_pending ORDER BY place LIMIT $1"


async def _pending(connection: Connection, limit: int) -> list[Pending]:
    rows = await connection.fetch(_PENDING, limit)
    return [Pending(place, Entry(AccountId(account), number, digest)) for place, account, number, digest in rows]


_HEAD: Final = "SELECT size, root, note, vkeys, signed_ms FROM log_checkpoint WHERE cosigned = $1"


async def _head(connection: Connection, cosigned: bool) -> SignedHead | None:  # noqa: FBT001 - Transactions passes by position
    row = await connection.fetchrow(_HEAD, cosigned)
    return None if row is None else SignedHead(row[0], row[1], row[2], row[3].decode(), row[4])


# Each compares and sets. Who comes second waits for the row, finds another checkpoint than it has seen, and appends
# nothing: two workers that both believe in their lease cannot put two entries at one place.
_FIRST: Final = """
    INSERT INTO log_checkpoint (cosigned, size, root, note, vkeys, signed_ms) VALUES (false, $1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING RETURNING true
"""
_NEXT: Final = """
    UPDATE log_checkpoint SET size = $1, root = $2, note = $3, vkeys = $4, signed_ms = $5
    WHERE NOT cosigned AND size = $6 AND root = $7
    RETURNING true
"""
# The order is that in which they were read, and hashed.
_ENTER: Final = """
    WITH taken AS (
        DELETE FROM log_pending WHERE place = ANY ($1::bigint[]) RETURNING place, account_id, number, digest
    )
    INSERT INTO log_entry (account_id, number, position, digest)
    SELECT account_id, number, $2 + row_number() OVER (ORDER BY place) - 1, digest FROM taken
"""
_GROW: Final = """
    INSERT INTO log_tile AS tile (level, position, hashes)
    SELECT * FROM unnest($1::int[], $2::bigint[], $3::bytea[])
    ON CONFLICT (level, position) DO UPDATE SET hashes = tile.hashes || excluded.hashes
"""


async def _append(
    connection: Connection,
    before: SignedHead | None,
    pending: Sequence[Pending],
    growth: Sequence[Growth],
    head: SignedHead,
) -> bool:
    if before is None:
        moved = await connection.fetchval(_FIRST, *_row(head))
    else:
        moved = await connection.fetchval(_NEXT, *_row(head), before.size, before.root)
    if not moved:
        return False
    if pending:
        entered = await connection.execute(_ENTER, [each.place for each in pending], head.size - len(pending))
        # Another worker took some of them: its tree has them, so this checkpoint is of a tree that nobody will see.
        if entered != f"INSERT 0 {len(pending)}":
            raise Undo(False)
        tiles = [each.tile for each in growth]
        hashes = [each.hashes for each in growth]
        await connection.execute(_GROW, [tile.level for tile in tiles], [tile.index for tile in tiles], hashes)
    return True


_KEEP: Final = """
    INSERT INTO log_checkpoint AS kept (cosigned, size, root, note, vkeys, signed_ms) VALUES (true, $1, $2, $3, $4, $5)
    ON CONFLICT (cosigned) DO UPDATE
    SET size = excluded.size, root = excluded.root, note = excluded.note, vkeys = excluded.vkeys,
        signed_ms = excluded.signed_ms
    -- Cosignatures come late: an older checkpoint must not replace a newer one.
    WHERE kept.size <= excluded.size
"""


async def _keep_cosigned(connection: Connection, head: SignedHead) -> None:
    await connection.execute(_KEEP, *_row(head))


_TILES: Final = """
    SELECT level, position, hashes
    FROM unnest($1::int[], $2::bigint[]) AS wanted (level, position)
    CROSS JOIN LATERAL (
        SELECT hashes FROM log_tile WHERE level = wanted.level AND position = wanted.position LIMIT 1
    ) AS tile
"""


async def _tiles(connection: Connection, tiles: Sequence[Tile]) -> dict[Tile, bytes]:
    rows = await connection.fetch(_TILES, [tile.level for tile in tiles], [tile.index for tile in tiles])
    return {Tile(level, index): hashes for level, index, hashes in rows}


_ENTRIES: Final = """
    SELECT account_id, number, digest FROM log_entry WHERE position >= $1 AND position < $1 + $2 ORDER BY position
"""


async def _entries(connection: Connection, first: int, count: int) -> list[Entry]:
    return [Entry(AccountId(row[0]), row[1], row[2]) for row in await connection.fetch(_ENTRIES, first, count)]


_FIND: Final = """
    SELECT number, digest, position FROM log_entry WHERE account_id = $1 AND number >= $2 ORDER BY number LIMIT $3
"""


async def _find(connection: Connection, account: AccountId, first: int, limit: int) -> list[Logged]:
    rows = await connection.fetch(_FIND, account, first, limit)
    return [Logged(Entry(account, number, digest), index) for number, digest, index in rows]


# The condition holds for every row. It is there for the index: no statement may read a table from end to end.
_BACKLOG: Final = """
    SELECT (SELECT count(*) FROM log_pending WHERE place >= 0),
           (SELECT signed_ms FROM log_checkpoint WHERE NOT cosigned)
"""


async def _backlog(connection: Connection) -> Backlog:
    row: Any = await connection.fetchrow(_BACKLOG)
    return Backlog(*row)


def _columns(entries: Sequence[Entry]) -> tuple[list[AccountId], list[int], list[bytes]]:
    return [each.account for each in entries], [each.number for each in entries], [each.digest for each in entries]


def _row(head: SignedHead) -> tuple[int, bytes, bytes, bytes, int]:
    return head.size, head.root, head.note, head.vkeys.encode(), head.signed_ms


_IS_SIGNED: Final = """
    SELECT EXISTS (
        SELECT FROM job_lease
        WHERE job = 'checkpoints' AND expires_ms > extract(epoch FROM clock_timestamp()) * 1000
    )
"""
_EMPTY: Final = "TRUNCATE log_entry, log_tile, log_checkpoint, log_pending"
_ENQUEUE_ALL: Final = """
    WITH queued AS (
        INSERT INTO log_pending (account_id, number, digest)
        SELECT account_id, number, sha256(statement) FROM device_list ORDER BY stored_ms, account_id, number
        RETURNING 1
    )
    SELECT count(*) FROM queued
"""


async def begin_log_anew(connection: Connection) -> int | None:
    """Empty the log and put every device list that is stored into its queue; return how many.

    None, and nothing happens, while a worker may be signing.
    """
    async with connection.transaction():
        if await connection.fetchval(_IS_SIGNED):
            return None
        await connection.execute(_EMPTY)
        queued: int = await connection.fetchval(_ENQUEUE_ALL)
        return queued
