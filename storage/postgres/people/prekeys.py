"""Prekeys in Postgres: first in, first out; a one-time key is handed out once."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import astuple

from domain.people import model as people
from storage.database import Connection
from storage.postgres.transactions import Transactions, Undo
from varde_contract.ids import AccountId, DeviceId

_Wanted = Sequence[tuple[AccountId, DeviceId]]


class PostgresPrekeys:
    """Keeps the promises of `domain.people.ports.PrekeyStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def upload(
        self,
        account: AccountId,
        device: DeviceId,
        one_time: Sequence[people.Prekey],
        fallback: people.Prekey | None,
        *,
        most: int,
    ) -> tuple[int, bool] | None:
        """Add keys and replace the fallback, all or nothing."""
        return await self._transactions.run(_upload, account, device, one_time, fallback, most)

    async def count(self, account: AccountId, device: DeviceId) -> tuple[int, bool]:
        """Return how many one-time keys there are, and whether there is a fallback key."""
        return await self._transactions.ask(_count, account, device)

    async def claim(
        self,
        claimer: AccountId,
        devices: Sequence[tuple[AccountId, DeviceId]],
        *,
        now_ms: int,
        window_ms: int,
        most: int,
    ) -> Sequence[people.ClaimedPrekey] | None:
        """Take one key for each device, all or nothing."""
        wanted = list(dict.fromkeys(devices))
        return await self._transactions.run(_claim, claimer, wanted, now_ms, window_ms, most)


# Two uploads at once would each count only their own keys against the most there may be.
_LOCK_DEVICE: Final = "SELECT true FROM device WHERE account_id = $1 AND device_id = $2 FOR NO KEY UPDATE"
# DO NOTHING: an upload whose answer was lost comes again, with keys that may have been handed out since.
_ADD: Final = """
    INSERT INTO one_time_key (account_id, device_id, key, kem_key, signature)
    SELECT $1, $2, key, kem_key, signature
    FROM unnest($3::bytea[], $4::bytea[], $5::bytea[]) WITH ORDINALITY AS fresh (key, kem_key, signature, place)
    ORDER BY place
    ON CONFLICT (account_id, device_id, key) DO NOTHING
"""
_SET_FALLBACK: Final = """
    INSERT INTO fallback_key (account_id, device_id, key, kem_key, signature) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (account_id, device_id)
    DO UPDATE SET key = excluded.key, kem_key = excluded.kem_key, signature = excluded.signature
"""
_COUNT: Final = """
    SELECT (SELECT count(*) FROM one_time_key WHERE account_id = $1 AND device_id = $2 AND handed_out_ms IS NULL),
           EXISTS (SELECT FROM fallback_key WHERE account_id = $1 AND device_id = $2)
"""


async def _upload(
    connection: Connection,
    account: AccountId,
    device: DeviceId,
    one_time: Sequence[people.Prekey],
    fallback: people.Prekey | None,
    most: int,
) -> tuple[int, bool]:
    if not await connection.fetchval(_LOCK_DEVICE, account, device):
        return 0, False
    columns = [[getattr(prekey, name) for prekey in one_time] for name in people.Prekey.__struct_fields__]
    await connection.execute(_ADD, account, device, *columns)
    if fallback is not None:
        await connection.execute(_SET_FALLBACK, account, device, *astuple(fallback))
    count, has_fallback = await _count(connection, account, device)
    if count > most:
        raise Undo(None)
    return count, has_fallback


async def _count(connection: Connection, account: AccountId, device: DeviceId) -> tuple[int, bool]:
    row = await connection.fetchrow(_COUNT, account, device)
    assert row is not None
    return row[0], row[1]


async def _claim(
    connection: Connection, claimer: AccountId, wanted: _Wanted, now_ms: int, window_ms: int, most: int
) -> list[people.ClaimedPrekey]:
    await _count_claims(connection, claimer, wanted, now_ms, window_ms, most)
    taken = await _take(connection, wanted, now_ms)
    left = await _left(connection, wanted)
    claimed = (_claimed(device, taken.get(device), *left[device]) for _, device in wanted if device in left)
    return [prekey for prekey in claimed if prekey is not None]


def _claimed(
    device: DeviceId, one_time: people.Prekey | None, left: int, fallback: people.Prekey | None
) -> people.ClaimedPrekey | None:
    if one_time is not None:
        return people.ClaimedPrekey(device, one_time, fallback=False, left=left)
    return None if fallback is None else people.ClaimedPrekey(device, fallback, fallback=True, left=left)


_COUNT_CLAIMS: Final = """
    INSERT INTO claim_window AS known (account_id, device_id, claimer_id, claimed_ms, until_ms)
    SELECT account_id, device_id, $3, ARRAY[$4::bigint], $4 + $5::bigint
    FROM unnest($1::uuid[], $2::uuid[]) AS wanted (account_id, device_id) JOIN device USING (account_id, device_id)
    ORDER BY account_id, device_id
    ON CONFLICT (account_id, device_id, claimer_id) DO UPDATE SET
        claimed_ms = array_append(ARRAY(SELECT ms FROM unnest(known.claimed_ms) AS ms WHERE ms > $4 - $5), $4),
        until_ms = excluded.until_ms
    RETURNING cardinality(claimed_ms)
"""


async def _count_claims(
    connection: Connection, claimer: AccountId, wanted: _Wanted, now_ms: int, window_ms: int, most: int
) -> None:
    # The rows are locked from here on, in one order, so two claims at once cannot both be the last one allowed.
    counts = await connection.fetch(_COUNT_CLAIMS, *_columns(wanted), claimer, now_ms, window_ms)
    if any(count > most for (count,) in counts):
        raise Undo(None)


# Two who claim at once do not wait for each other: the second skips the row the first one holds, and takes the next.
_TAKE: Final = """
    WITH first AS MATERIALIZED (
        SELECT queue.account_id, queue.device_id, queue.key
        FROM unnest($1::uuid[], $2::uuid[]) AS wanted (account_id, device_id)
        CROSS JOIN LATERAL (
            SELECT account_id, device_id, key FROM one_time_key
            WHERE account_id = wanted.account_id AND device_id = wanted.device_id AND handed_out_ms IS NULL
            ORDER BY place
            LIMIT 1
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS queue
    )
    UPDATE one_time_key AS taken SET handed_out_ms = $3
    FROM first
    WHERE taken.account_id = first.account_id AND taken.device_id = first.device_id AND taken.key = first.key
    RETURNING taken.device_id, taken.key, taken.kem_key, taken.signature
"""


async def _take(connection: Connection, wanted: _Wanted, now_ms: int) -> dict[DeviceId, people.Prekey]:
    rows = await connection.fetch(_TAKE, *_columns(wanted), now_ms)
    return {device: people.Prekey(*prekey) for device, *prekey in rows}


_LEFT: Final = """
    SELECT device_id, fallback_key.key, fallback_key.kem_key, fallback_key.signature, (
        SELECT count(*) FROM one_time_key AS queue
        WHERE queue.account_id = wanted.account_id AND queue.device_id = wanted.device_id AND handed_out_ms IS NULL
    )
    FROM unnest($1::uuid[], $2::uuid[]) AS wanted (account_id, device_id)
    LEFT JOIN fallback_key USING (account_id, device_id)
"""


async def _left(connection: Connection, wanted: _Wanted) -> dict[DeviceId, tuple[int, people.Prekey | None]]:
    rows = await connection.fetch(_LEFT, *_columns(wanted))
    return {device: (count, None if prekey[0] is None else people.Prekey(*prekey)) for device, *prekey, count in rows}


def _columns(wanted: _Wanted) -> tuple[list[AccountId], list[DeviceId]]:
    return [account for account, _ in wanted], [device for _, device in wanted]
