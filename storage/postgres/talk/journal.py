"""The journal in Postgres: one statement for each batch."""

import struct
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from typing import Final
from uuid import UUID

from domain.talk import model as talk
from storage.database import Connection
from storage.island import Island
from storage.postgres import protocol
from storage.postgres.errors import RETRYABLE, store_errors
from storage.postgres.pool import Check, Timeouts
from storage.postgres.transactions import Transactions
from storage.postgres.trio_connection import STATEMENT, TrioConnection, TrioConnections
from varde_contract.ids import DeviceId, MessageId


class PostgresJournal:
    """Keeps the promises of `domain.talk.ports.JournalStore`."""

    def __init__(self, transactions: Transactions, connections: TrioConnections | None = None) -> None:
        """With `connections`, made by `make_commit_connections`, commits go there as long as there are some."""
        self._transactions = transactions
        self._connections = connections

    async def commit(self, drafts: Sequence[talk.Draft]) -> Sequence[talk.Committed | talk.RosterOutdated]:
        """Number and store the drafts."""
        if not drafts:
            return []
        with store_errors():
            connection = None if self._connections is None else await self._connections.take()
            outcomes = None if connection is None else await self._commit_directly(connection, drafts)
        return await self._transactions.ask(commit, drafts) if outcomes is None else outcomes

    async def _commit_directly(
        self, connection: TrioConnection, drafts: Sequence[talk.Draft]
    ) -> list[talk.Committed | talk.RosterOutdated] | None:
        """Commit on a connection; None when others stood in the way: nothing was stored then."""
        assert self._connections is not None
        try:
            return _outcomes(drafts, await connection.ask(_query(drafts)))
        except RETRYABLE:
            return None
        except Exception:
            # A migration may have replaced what the statement was prepared for, and then it fails on this connection
            # for as long as it lives. The next one prepares it anew.
            connection.close()
            raise
        finally:
            self._connections.give(connection)

    async def find_committed(self, keys: Sequence[talk.SendKey]) -> Sequence[talk.Committed | None]:
        """Return what is in the log under these keys."""
        return await self._transactions.ask(_find_committed, keys) if keys else []


# Why it is a function is said in migrations/0003_log.sql; as it is now it stands in 0010_ids.sql.
_COMMIT: Final = """
    SELECT message_id, seq, sent_ms, duplicate
    FROM journal_commit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""


async def commit(connection: Connection, drafts: Sequence[talk.Draft]) -> list[talk.Committed | talk.RosterOutdated]:
    """Number and store drafts, alone or within a transaction that holds the conversations' locks."""
    places, devices, ciphertexts = _ciphers(drafts)
    rows = await connection.fetch(
        _COMMIT,
        [draft.conversation for draft in drafts],
        [draft.roster_version for draft in drafts],
        [draft.device for draft in drafts],
        [draft.client_id for draft in drafts],
        [draft.message for draft in drafts],
        [draft.profile for draft in drafts],
        [draft.sent_ms for draft in drafts],
        places,
        devices,
        ciphertexts,
    )
    return [talk.RosterOutdated() if row["seq"] is None else talk.Committed(*row) for row in rows]


_TYPES: Final = (
    *(
        protocol.UUIDS,
        protocol.BIGINTS,
        protocol.UUIDS,
        protocol.UUIDS,
        protocol.UUIDS,
        protocol.UUIDS,
        protocol.BIGINTS,
    ),
    *(protocol.BIGINTS, protocol.UUIDS, protocol.BYTEAS),
)


def make_commit_connections(
    island: Island, url: str, timeouts: Timeouts, *, check: Check | None = None
) -> TrioConnections:
    """Make the straight connections for a journal; none is open yet."""
    return TrioConnections(island, url, timeouts, protocol.prepare(STATEMENT, _COMMIT, _TYPES), check)


def _query(drafts: Sequence[talk.Draft]) -> bytes:
    places, devices, ciphertexts = _ciphers(drafts)
    arguments = (
        protocol.uuids([draft.conversation for draft in drafts]),
        protocol.bigints([draft.roster_version for draft in drafts]),
        protocol.uuids([draft.device for draft in drafts]),
        protocol.uuids([draft.client_id for draft in drafts]),
        protocol.uuids([draft.message for draft in drafts]),
        protocol.uuids([draft.profile for draft in drafts]),
        protocol.bigints([draft.sent_ms for draft in drafts]),
        protocol.bigints(places),
        protocol.nullable_uuids(devices),
        protocol.byteas(ciphertexts),
    )
    return protocol.ask(STATEMENT, arguments)


_STORED: Final = struct.Struct(">Hi16siqiqi?")
"""A row of the answer without nulls: its message, number, time, and whether it is a duplicate."""


def _outcomes(drafts: Sequence[talk.Draft], rows: Sequence[protocol.Row]) -> list[talk.Committed | talk.RosterOutdated]:
    return [_outcome(draft, row) for draft, row in zip(drafts, rows, strict=True)]


def _outcome(draft: talk.Draft, row: protocol.Row) -> talk.Committed | talk.RosterOutdated:
    if len(row) != _STORED.size:
        assert protocol.columns(row)[1] is None, "a number without the rest"
        return talk.RosterOutdated()
    _, _, message, _, seq, _, sent_ms, _, duplicate = _STORED.unpack(row)
    if not duplicate:
        return talk.Committed(draft.message, seq, sent_ms, duplicate=False)
    return talk.Committed(MessageId(UUID(bytes=message)), seq, sent_ms, duplicate=True)


def _ciphers(drafts: Sequence[talk.Draft]) -> tuple[list[int], list[DeviceId | None], list[bytes]]:
    """The ciphertexts of all drafts as columns: the place of its draft, from 1, and its device, or None for all."""
    parts: list[Mapping[DeviceId, bytes] | Mapping[None, bytes] | Mapping[DeviceId | None, bytes]] = [
        {None: draft.group} if draft.group is not None else _of_part(draft) if draft.part else draft.devices or {}
        for draft in drafts
    ]
    places = chain.from_iterable(repeat(place, len(part)) for place, part in enumerate(parts, start=1))
    devices = chain.from_iterable(parts)
    return list(places), list(devices), list(chain.from_iterable(part.values() for part in parts))


def _of_part(draft: talk.Draft) -> Mapping[DeviceId | None, bytes]:
    # Something empty for all: who finds nothing else is told that it is not for them.
    parts: dict[DeviceId | None, bytes] = {None: b""}
    parts.update((draft.devices or {}).items())
    return parts


# Without the locks of a commit: what is being stored in this moment may be missed, and its sender will ask again.
_FIND_COMMITTED: Final = """
    SELECT place, message_id, seq, sent_ms
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY
         AS key (conversation_id, device_id, client_id, place)
    JOIN message USING (conversation_id, device_id, client_id)
"""


async def _find_committed(connection: Connection, keys: Sequence[talk.SendKey]) -> list[talk.Committed | None]:
    rows = await connection.fetch(
        _FIND_COMMITTED,
        [key.conversation for key in keys],
        [key.device for key in keys],
        [key.client_id for key in keys],
    )
    found: list[talk.Committed | None] = [None] * len(keys)
    for place, message, seq, sent_ms in rows:
        found[place - 1] = talk.Committed(message, seq, sent_ms, duplicate=True)
    return found
