"""The retention sweep in Postgres: each sweep is one transaction."""

from typing import Final

from domain.people.user_names import HELD
from domain.retention.model import Swept
from storage.database import Connection
from storage.postgres.transactions import Transactions

TICKET_LIFE_MS: Final = 24 * 60 * 60 * 1000
"""A revocation is of use until the last ticket of before has expired. One that is final, of a revoked device, stays."""
AUDIT_LIFE_MS: Final = 401 * 24 * 60 * 60 * 1000
"""The table lets nobody delete what is younger than 400 days by the database's clock, which may differ from ours."""
STEP: Final = 10_000
"""Messages looked at by one statement, so that each stays well within its deadline."""
STEPS: Final = 100
"""Statements in one sweep: what is left then is for the next."""


class PostgresRetention:
    """Keeps the promises of `domain.retention.ports.RetentionStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def sweep(self, now_ms: int, *, retention_ms: int, limit: int) -> Swept:
        """Delete what has passed its time."""
        return await self._transactions.run(_sweep, now_ms, retention_ms, limit)


async def _sweep(connection: Connection, now_ms: int, retention_ms: int, limit: int) -> Swept:
    """Sweep, or return zeros while somebody else does."""
    swept_ms = await connection.fetchval(_LOCK)
    if swept_ms is None:
        return Swept(0, 0, 0, 0, 0)
    ciphertexts, swept_ms = await _sweep_ciphertexts(connection, swept_ms, now_ms - retention_ms, limit)
    swept = Swept(
        ciphertexts=ciphertexts,
        messages=await _count(connection, _MESSAGES, min(swept_ms, now_ms - 2 * retention_ms), limit),
        codes=await _count(connection, _CODES, now_ms, limit),
        sessions=await _count(connection, _SESSIONS, now_ms, limit),
        revocations=await _count(connection, _REVOCATIONS, now_ms - TICKET_LIFE_MS, limit),
    )
    await _count(connection, _CODE_WINDOWS, now_ms, limit)
    await _count(connection, _CLAIM_WINDOWS, now_ms, limit)
    await _count(connection, _LINKS, now_ms, limit)
    await _count(connection, _USER_NAMES, now_ms - HELD, limit)
    await _count(connection, _AUDIT, now_ms - AUDIT_LIFE_MS, limit)
    # Keys that were handed out stay as long as ciphertext: an upload that is repeated until then must not offer them
    # again.
    await _count(connection, _ONE_TIME_KEYS, now_ms - retention_ms, limit)
    return swept


async def _count(connection: Connection, statement: str, *args: int) -> int:
    """Run the statement; return how many rows it deleted."""
    status = await connection.execute(statement, *args)
    return int(status.rpartition(" ")[2])


# The lock is held to the end. SKIP LOCKED: a second sweep finds nothing to do, rather than wait for the first. The
# lease of the job makes that rare; it cannot rule it out, because a worker that was stopped in its tracks may go on in
# the middle of a transaction when its lease is long somebody else's.
_LOCK: Final = "SELECT cipher_ms FROM sweeper FOR UPDATE SKIP LOCKED"
_STEP: Final = """
    SELECT max(sent_ms)
    FROM (SELECT sent_ms FROM message WHERE sent_ms > $1 AND sent_ms <= $2 ORDER BY sent_ms LIMIT $3) AS step
"""
# Of a part the mark of the others goes first: without the rest it would call what expired `not-for-you`.
# SKIP LOCKED: somebody who holds a row is deleting it. Should that fail, it goes with its message at the latest.
_CIPHERTEXTS: Final = """
    WITH passed AS (
        SELECT cipher.ctid AS place
        FROM (
            SELECT conversation_id, seq, sent_ms FROM message WHERE sent_ms > $1 AND sent_ms <= $2 OFFSET 0
        ) AS message
        JOIN cipher USING (conversation_id, seq)
        ORDER BY sent_ms, for_all DESC
        LIMIT $3
        FOR UPDATE OF cipher SKIP LOCKED
    )
    DELETE FROM cipher WHERE ctid = ANY (ARRAY(SELECT place FROM passed))
"""
_REMEMBER: Final = "UPDATE sweeper SET cipher_ms = $1"


async def _sweep_ciphertexts(connection: Connection, swept_ms: int, upto_ms: int, limit: int) -> tuple[int, int]:
    """Delete ciphertext of messages sent until `upto_ms`; return how many, and until when there is none left.

    Most of what is old enough was confirmed, and deleted, long ago. So that those messages are looked at once and not
    with every sweep, the last one is remembered, and looked at again for others of its own millisecond.
    """
    deleted, after_ms = 0, swept_ms - 1
    for _ in range(STEPS):
        step_ms = await connection.fetchval(_STEP, after_ms, upto_ms, STEP)
        if step_ms is None:
            break
        deleted += await _count(connection, _CIPHERTEXTS, after_ms, step_ms, limit - deleted)
        if deleted == limit:
            break
        after_ms = step_ms
    swept_ms = max(after_ms, swept_ms)
    await connection.execute(_REMEMBER, swept_ms)
    return deleted, swept_ms


# By then it has no ciphertext, but for what a failed confirmation may have left.
_MESSAGES: Final = """
    WITH passed AS (
        SELECT conversation_id, seq FROM message WHERE sent_ms <= $1 ORDER BY sent_ms LIMIT $2
    ),
    leftover AS (
        DELETE FROM cipher USING passed
        WHERE cipher.conversation_id = passed.conversation_id AND cipher.seq = passed.seq
    )
    DELETE FROM message USING passed
    WHERE message.conversation_id = passed.conversation_id AND message.seq = passed.seq
"""
_CODES: Final = """
    DELETE FROM one_time_code WHERE address IN (
        SELECT address FROM one_time_code WHERE expires_ms <= $1
        ORDER BY expires_ms LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""
_SESSIONS: Final = """
    DELETE FROM session WHERE (account_id, session_id) IN (
        SELECT account_id, session_id FROM session WHERE refresh_expires_ms <= $1
        ORDER BY refresh_expires_ms LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""
_REVOCATIONS: Final = """
    DELETE FROM revocation WHERE (account_id, device_id) IN (
        SELECT account_id, device_id FROM revocation WHERE written_ms <= $1 AND NOT final
        ORDER BY written_ms LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""
_CODE_WINDOWS: Final = """
    DELETE FROM code_window WHERE address IN (
        SELECT address FROM code_window WHERE until_ms <= $1
        ORDER BY until_ms LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""
# By the database's clock as well: by that one a trigger refuses to delete too soon, and a worker whose own clock is
# days ahead would never end a sweep.
_AUDIT: Final = """
    DELETE FROM audit_entry WHERE number IN (
        SELECT number FROM audit_entry
        WHERE done_ms <= least($1, (extract(epoch FROM now()) * 1000)::bigint - 34560000000)
        ORDER BY number LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""
_CLAIM_WINDOWS: Final = """
    DELETE FROM claim_window WHERE (account_id, device_id, claimer_id) IN (
        SELECT account_id, device_id, claimer_id FROM claim_window WHERE until_ms <= $1
        ORDER BY until_ms LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""
_LINKS: Final = """
    DELETE FROM link WHERE (account_id, link_id) IN (
        SELECT account_id, link_id FROM link WHERE expires_ms <= $1
        ORDER BY expires_ms LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""
_USER_NAMES: Final = """
    DELETE FROM name_account WHERE skeleton IN (
        SELECT skeleton FROM name_account WHERE freed_ms <= $1
        ORDER BY freed_ms LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""
_ONE_TIME_KEYS: Final = """
    DELETE FROM one_time_key WHERE (account_id, device_id, key) IN (
        SELECT account_id, device_id, key FROM one_time_key WHERE handed_out_ms <= $1
        ORDER BY handed_out_ms LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""
