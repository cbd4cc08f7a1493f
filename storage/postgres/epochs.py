"""Notices that the database has lost what was committed, and begins a new epoch then, before anything else is done.

Four things show it: another system identifier (a dump was restored elsewhere), another timeline (a standby was
promoted, or a backup was recovered), a position in the write-ahead log behind one that was seen before (files were put
back), and a count that only grows and has shrunk (a dump was restored in the same Postgres, whose log goes on). What
was seen is kept in a file beside the keys, because everything in the database goes back with it. An epoch that begins
without a loss does no harm: nobody has more than the heads that are kept.
"""

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
from msgspec import Struct

from domain.talk.model import EpochHead
from storage.database import Connection
from storage.postgres.pool import SETTINGS
from storage.postgres.transactions import Transactions
from varde_contract.ids import ENTROPY_BYTES, ConversationId, EpochId, decode_text_id, uuid7
from varde_contract.limits import EPOCHS_PER_JOIN

CONNECT_SECONDS: Final = 10.0
_log: Final = logging.getLogger(__name__)

# The flushed position, not the inserted one: an ack comes after its flush. The timeline is that of the segment being
# written; the control file's is that of the last checkpoint, and lags behind a promotion.
_STATE: Final = """
    SELECT (SELECT system_identifier FROM pg_control_system()),
           ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::bigint,
           (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint
"""
_EPOCHS: Final = "SELECT epoch, replaces, system_identifier, timeline, looks FROM store_epoch ORDER BY number DESC"
_COUNT_LOOK: Final = """
    UPDATE store_epoch SET looks = looks + 1 WHERE number = (SELECT max(number) FROM store_epoch) RETURNING looks
"""
_LOCK: Final = "LOCK TABLE store_epoch IN EXCLUSIVE MODE"
_BEGIN: Final = "INSERT INTO store_epoch (epoch, replaces, system_identifier, timeline) VALUES ($1, $2, $3, $4)"
_KEEP_HEADS: Final = (
    "INSERT INTO epoch_head (conversation_id, epoch, head) SELECT conversation_id, $1, head FROM conversation"
)
# A version names one roster for ever: clients encrypt for it. Those that were lost are not given out again, because the
# time is ahead of them, and of those of an earlier restore of the same backup. Each loss writes all rows, once.
_MOVE_ROSTERS: Final = "UPDATE conversation SET roster_version = greatest(roster_version + 1, $1), superseded_ms = '{}'"
# Some that come back were claimed in the time that is lost, and their private halves are gone: what is encrypted for
# them could never be opened. Devices upload fresh ones when they see the epoch; until then there is the fallback key.
_FORGET_PREKEYS: Final = "TRUNCATE one_time_key"


class Mark(Struct, frozen=True):
    """What was seen last: the epoch, how far the write-ahead log had been flushed, and how often anybody had looked."""

    epoch: EpochId
    lsn: int
    looks: int = 0


class PostgresEpochs:
    """Keeps the promises of `domain.talk.ports.EpochStore`."""

    def __init__(self, path: Path | None) -> None:
        """`path` is where the mark is kept; without one only the timeline and the identifier are looked at."""
        # Open for good: the folder of keys is closed to whoever the program runs as later.
        self._file = None if path is None else os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._mark = None if self._file is None else _read(self._file)
        self._transactions: Transactions | None = None
        self._url = ""
        self._beginning: asyncio.Task[None] | None = None
        self.known: Sequence[EpochId] = ()
        """The epochs, newest first."""

    def open(self, transactions: Transactions, url: str) -> None:
        """Look at every connection from now on: the schema is there. An epoch is begun on a connection of its own."""
        self._transactions, self._url = transactions, url

    async def look(self) -> None:
        """Look at the database, over any connection."""
        assert self._transactions is not None
        await self._transactions.ask(self._look)

    async def heads(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, Sequence[EpochHead]]:
        """Return what each conversation had kept when each epoch began, newest first."""
        assert self._transactions is not None
        return await self._transactions.ask(_heads, conversations)

    async def check_connection(self, connection: Connection) -> None:
        """Look at a new connection before it is used: behind it may be another database than yesterday's."""
        if self._transactions is not None:
            await self._check(connection)

    async def _look(self, connection: Connection) -> None:
        await self._check(connection)
        # Counted after it was checked, or the count would hide that it is an old one.
        looks = await connection.fetchval(_COUNT_LOOK)
        assert self._mark is not None
        self._note(Mark(self._mark.epoch, self._mark.lsn, looks))

    async def _check(self, connection: Connection) -> None:
        # The mark is taken before anything is read: another connection may note a later one meanwhile, and what was
        # read before that would look like a loss.
        mark, (state, epochs) = self._mark, await _read_database(connection)
        if not _is_kept(mark, state, epochs):
            await self._wait_begun()
            mark, (state, epochs) = self._mark, await _read_database(connection)
            if not _is_kept(mark, state, epochs):
                raise asyncpg.InterfaceError("the database has changed again meanwhile")
        self._note_seen(state, epochs)

    async def _wait_begun(self) -> None:
        """Wait until an epoch has begun; whoever gives up before that does not end it.

        It writes a row for each conversation, in one transaction: for half a million that is longer than anybody waits
        for a connection. Undone each time, it would never be over, and nobody could write after a promotion.
        """
        if self._beginning is None or self._beginning.done():
            self._beginning = asyncio.get_running_loop().create_task(self._begin_alone())
            # Also where nobody waits any more: what it raised is said by the next one that tries.
            self._beginning.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._beginning)

    async def _begin_alone(self) -> None:
        # No deadline for a statement: it takes as long as there are conversations.
        connection = await asyncpg.connect(self._url, timeout=CONNECT_SECONDS, server_settings=SETTINGS)
        try:
            async with connection.transaction():
                # Of several that notice at once, the first begins the epoch.
                await connection.execute(_LOCK)
                mark, (state, epochs) = self._mark, await _read_database(connection)
                if not _is_kept(mark, state, epochs):
                    await self._begin(connection, state, earlier=bool(epochs))
        finally:
            await connection.close(timeout=CONNECT_SECONDS)

    def _note_seen(self, state: Any, epochs: Sequence[Any]) -> None:
        self._note(Mark(epochs[0]["epoch"], state[2], epochs[0]["looks"]))
        self.known = [row["epoch"] for row in epochs[:EPOCHS_PER_JOIN]]

    async def _begin(self, connection: Connection, state: Any, *, earlier: bool) -> None:
        system, timeline, _ = state
        now_ms = time.time_ns() // 1_000_000
        epoch = uuid7(now_ms, os.urandom(ENTROPY_BYTES))
        replaces = None if self._mark is None else self._mark.epoch
        if earlier or replaces is not None:  # otherwise nobody knows an epoch before this one
            await connection.execute(_KEEP_HEADS, epoch)
            await connection.execute(_MOVE_ROSTERS, now_ms)
            await connection.execute(_FORGET_PREKEYS)
        await connection.execute(_BEGIN, epoch, replaces, system, timeline)
        _log.warning("a new epoch of the store has begun: the database is new, was promoted, or was restored")

    def _note(self, mark: Mark) -> None:
        if self._mark is not None and self._mark.epoch == mark.epoch:
            mark = Mark(mark.epoch, max(mark.lsn, self._mark.lsn), max(mark.looks, self._mark.looks))
        if mark == self._mark:
            return
        self._mark = mark
        if self._file is not None:
            # In place and in one piece, always as long: there is no moment in which the file holds none.
            written = f'{{"epoch":"{mark.epoch}","lsn":{mark.lsn:20},"looks":{mark.looks:20}}}\n'
            os.pwrite(self._file, written.encode(), 0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)


async def _read_database(connection: Connection) -> tuple[Any, Sequence[Any]]:
    return await connection.fetchrow(_STATE), await connection.fetch(_EPOCHS)


def _is_kept(mark: Mark | None, state: Any, epochs: Sequence[Any]) -> bool:
    system, timeline, lsn = state
    if not epochs or (epochs[0]["system_identifier"], epochs[0]["timeline"]) != (system, timeline):
        return False
    if mark is None or mark.epoch == epochs[0]["replaces"]:
        return True
    if mark.epoch == epochs[0]["epoch"]:
        return bool(lsn >= mark.lsn and epochs[0]["looks"] >= mark.looks)
    return any(mark.epoch == row["epoch"] for row in epochs)  # another process has begun the newer one


def _read(file: int) -> Mark | None:
    written = os.pread(file, 1_000, 0)
    return msgspec.json.decode(written, type=Mark, dec_hook=decode_text_id) if written else None


_HEADS: Final = """
    SELECT conversation_id, epoch, coalesce(epoch_head.head, 0)
    FROM unnest($1::uuid[]) AS asked (conversation_id)
    CROSS JOIN (SELECT epoch, number FROM store_epoch ORDER BY number DESC LIMIT $2) AS latest
    LEFT JOIN epoch_head USING (conversation_id, epoch)
    ORDER BY conversation_id, number DESC
"""


async def _heads(
    connection: Connection, conversations: Sequence[ConversationId]
) -> dict[ConversationId, list[EpochHead]]:
    heads: dict[ConversationId, list[EpochHead]] = {}
    for conversation, epoch, head in await connection.fetch(_HEADS, conversations, EPOCHS_PER_JOIN):
        heads.setdefault(conversation, []).append(EpochHead(epoch, head))
    return heads
