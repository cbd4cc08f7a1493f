"""One-time codes and the accounts of addresses in Postgres, both by keyed digest."""

from collections.abc import Sequence
from typing import Final

from domain.people import model as people
from storage.database import Connection
from storage.postgres.transactions import Transactions, Undo
from varde_contract.ids import AccountId


class PostgresSignIn:
    """Keeps the promises of `domain.people.ports.SignInStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def put_code(
        self, address: bytes, code: people.OneTimeCode, *, now_ms: int, window_ms: int, most: int
    ) -> bool:
        """Replace the address's code, unless there were too many lately."""
        return await self._transactions.run(_put_code, address, code, now_ms, window_ms, most)

    async def take_attempt(self, address: bytes) -> people.OneTimeCode | None:
        """Use up one attempt."""
        return await self._transactions.ask(_take_attempt, address)

    async def consume_code(self, address: bytes, code_digest: bytes) -> bool:
        """Delete this code."""
        return await self._transactions.ask(_consume_code, address, code_digest)

    async def account_of(
        self, address: bytes, fresh: AccountId, now_ms: int, *, known_as: Sequence[bytes] = ()
    ) -> tuple[people.Account, bool]:
        """Return the address's account, made now when there is none."""
        return await self._transactions.run(_account_of, address, fresh, now_ms, known_as)


_COUNT_CODE: Final = """
    INSERT INTO code_window AS known (address, sent_ms, until_ms) VALUES ($1, ARRAY[$2::bigint], $2 + $3::bigint)
    ON CONFLICT (address) DO UPDATE SET
        sent_ms = array_append(ARRAY(SELECT ms FROM unnest(known.sent_ms) AS ms WHERE ms > $2 - $3), $2),
        until_ms = excluded.until_ms
    RETURNING cardinality(sent_ms)
"""
_PUT_CODE: Final = """
    INSERT INTO one_time_code (address, code_digest, expires_ms, attempts_left) VALUES ($1, $2, $3, $4)
    ON CONFLICT (address) DO UPDATE SET
        code_digest = excluded.code_digest, expires_ms = excluded.expires_ms, attempts_left = excluded.attempts_left
"""


async def _put_code(
    connection: Connection, address: bytes, code: people.OneTimeCode, now_ms: int, window_ms: int, most: int
) -> bool:
    # The window's row is locked from here on, so two codes asked for at once cannot both be the last one allowed.
    if await connection.fetchval(_COUNT_CODE, address, now_ms, window_ms) > most:
        raise Undo(False)
    await connection.execute(_PUT_CODE, address, code.code_digest, code.expires_ms, code.attempts_left)
    return True


# An attempt is spent by reading the code, before anybody compares: guesses at the same moment cannot share one.
_TAKE_ATTEMPT: Final = """
    WITH found AS (
        SELECT address, code_digest, expires_ms, attempts_left FROM one_time_code WHERE address = $1 FOR UPDATE
    )
    UPDATE one_time_code AS code SET attempts_left = greatest(found.attempts_left - 1, 0)
    FROM found WHERE code.address = found.address
    RETURNING found.code_digest, found.expires_ms, found.attempts_left
"""


async def _take_attempt(connection: Connection, address: bytes) -> people.OneTimeCode | None:
    row = await connection.fetchrow(_TAKE_ATTEMPT, address)
    return None if row is None else people.OneTimeCode(*row)


# Of two who sign in with the same code one deletes it; a code that was sent since is another one, and stays.
_CONSUME_CODE: Final = "DELETE FROM one_time_code WHERE address = $1 AND code_digest = $2 RETURNING true"


async def _consume_code(connection: Connection, address: bytes, code_digest: bytes) -> bool:
    return bool(await connection.fetchval(_CONSUME_CODE, address, code_digest))


# Of two at once, the second one waits for the row's lock, and then no longer finds it under the other name.
_RENAME_ADDRESS: Final = """
    UPDATE address_account SET address = $1
    WHERE address = (SELECT address FROM address_account WHERE address = ANY($2::bytea[]) LIMIT 1)
        AND NOT EXISTS (SELECT FROM address_account WHERE address = $1)
"""
_CLAIM_ADDRESS: Final = """
    INSERT INTO address_account (address, account_id) VALUES ($1, $2)
    ON CONFLICT (address) DO NOTHING
    RETURNING true
"""
_MAKE_ACCOUNT: Final = """
    INSERT INTO account (account_id, created_ms) VALUES ($1, $2)
    RETURNING account_id, created_ms, list_number, false
"""
_FIND_ACCOUNT: Final = """
    SELECT account_id, created_ms, list_number, suspended_ms IS NOT NULL
    FROM address_account JOIN account USING (account_id) WHERE address = $1
"""


async def _account_of(
    connection: Connection, address: bytes, fresh: AccountId, now_ms: int, known_as: Sequence[bytes]
) -> tuple[people.Account, bool]:
    if known_as:
        await connection.execute(_RENAME_ADDRESS, address, list(known_as))
    # Whoever comes second waits here for the first one's end, and then sees its account in the next statement.
    made = await connection.fetchval(_CLAIM_ADDRESS, address, fresh) is not None
    row = (
        await connection.fetchrow(_MAKE_ACCOUNT, fresh, now_ms)
        if made
        else await connection.fetchrow(_FIND_ACCOUNT, address)
    )
    assert row is not None
    return people.Account(*row), made
