"""Devices in Postgres, with all that a change of them moves."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from domain.people import model as people
from domain.people.ports import AdoptFault, ListFault
from storage.database import Connection
from storage.postgres.locks import lock_account, lock_conversations
from storage.postgres.talk.positions import begin_positions, end_positions, move_rosters
from storage.postgres.transactions import Transactions, Undo
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, SessionId


class PostgresDevices:
    """Keeps the promises of `domain.people.ports.DeviceStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def apply(self, change: people.ListChange) -> Sequence[people.RosterChange] | ListFault:
        """Store a list, enqueue it for the transparency log, and change devices, positions and rosters."""
        return await self._transactions.run(_apply, change)

    async def expire(self, now_ms: int, most: int) -> people.Expired:
        """Let devices whose time is over receive for nothing."""
        due = await self._transactions.ask(_due, now_ms, most)
        moves = [await self._transactions.run(_expire, account, device, now_ms) for account, device in due]
        return people.Expired(tuple(device for _, device in due), tuple(move for each in moves for move in each))

    async def newest_list(self, account: AccountId) -> people.StoredList | None:
        """Return the account's newest list."""
        return await self._transactions.ask(_newest_list, account)

    async def lists(self, account: AccountId, from_number: int, most: int) -> Sequence[people.StoredList]:
        """Return the account's lists from a number on."""
        return await self._transactions.ask(_lists, account, from_number, most)

    async def kept_list(self, account: AccountId, before_ms: int) -> int:
        """Return the number of the newest list of before."""
        return int(await self._transactions.ask(_kept_list, account, before_ms))

    async def may_read_lists(self, reader: AccountId, device: DeviceId | None, account: AccountId) -> bool:
        """Whether both share a conversation, or the device can have a message that the account wrote."""
        return bool(await self._transactions.ask(_may_read_lists, reader, device, account))

    async def adopt(self, account: AccountId, device: DeviceId, session: SessionId) -> AdoptFault | None:
        """Bind the session to a device that is there, and end the device's other sessions."""
        return await self._transactions.run(_adopt, account, device, session)

    async def find(self, account: AccountId, device: DeviceId) -> people.Device | None:
        """Return the device, unless revoked."""
        return await self._transactions.ask(_find, account, device)

    async def list_all(self, account: AccountId) -> Sequence[people.Device]:
        """Return the account's devices that are not revoked, oldest first."""
        return await self._transactions.ask(_list_all, account)

    async def void_tickets(self, account: AccountId, device: DeviceId, now_ms: int) -> None:
        """Void the tickets issued before now."""
        await self._transactions.ask(_void_tickets_now, account, device, now_ms)

    async def revocations(self, since_ms: int) -> Sequence[people.Revocation]:
        """Return the revocations written at or after `since_ms`."""
        return await self._transactions.ask(_revocations, since_ms)


_NEXT: Final = """
    UPDATE account SET list_number = $2 WHERE account_id = $1 AND list_number = $2 - 1 RETURNING true
"""
_STORE: Final = "INSERT INTO device_list (account_id, number, statement, hash, stored_ms) VALUES ($1, $2, $3, $4, $5)"
_LOG: Final = "INSERT INTO log_pending (account_id, number, digest) VALUES ($1, $2, $3)"
_REVOKE: Final = "DELETE FROM device WHERE account_id = $1 AND device_id = ANY ($2) RETURNING profiles"
_CLAIM_IDS: Final = """
    INSERT INTO device_account (device_id, account_id) SELECT unnest($2::uuid[]), $1
    ON CONFLICT (device_id) DO NOTHING
    RETURNING device_id
"""
_ADD: Final = """
    INSERT INTO device (
        account_id, device_id, noise_key, signing_key, identity_key, profiles, valid_until_ms, created_ms
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_WHITELIST: Final = "SELECT profiles FROM device WHERE account_id = $1 AND device_id = $2"
_CHANGE: Final = "UPDATE device SET profiles = $3, valid_until_ms = $4 WHERE account_id = $1 AND device_id = $2"


async def _apply(connection: Connection, change: people.ListChange) -> list[people.RosterChange] | ListFault:
    stored, account = change.stored, change.stored.account
    # The account's row is the lock: of two lists at once the second finds another number.
    await lock_account(connection, account)
    if not await connection.fetchval(_NEXT, account, stored.number):
        return ListFault.STALE
    await connection.execute(_STORE, account, stored.number, stored.signed, stored.hash, change.now_ms)
    # In this transaction: a list that is stored and never comes to the log would be taken for one that is hidden.
    await connection.execute(_LOG, account, stored.number, stored.digest)
    moved: set[ProfileId] = set()
    for row in await connection.fetch(_REVOKE, account, change.revoked):
        moved.update(row["profiles"])
    fresh = [device.id for device in change.added]
    # Another account may take the same id in the same moment: the row that is there in the end decides.
    if len(await connection.fetch(_CLAIM_IDS, account, fresh)) != len(fresh):
        raise Undo(ListFault.DEVICE_EXISTS)
    for device in change.added:
        keys = device.noise_key, device.signing_key, device.identity_key
        await connection.execute(
            _ADD, account, device.id, *keys, device.profiles, device.valid_until_ms, device.created_ms
        )
        moved.update(device.profiles)
    for device in change.changed:
        moved |= set(await connection.fetchval(_WHITELIST, account, device.id)) ^ set(device.profiles)
        await connection.execute(_CHANGE, account, device.id, device.profiles, device.valid_until_ms)
    for device_id in (*change.revoked, *change.voided):
        await _void_tickets(connection, account, device_id, change.now_ms, final=device_id in change.revoked)
    gone = [*change.revoked, *(device.id for device in change.changed)]
    profiles = None if change.everywhere else moved
    return await _update_positions(connection, account, gone, profiles, removal=bool(change.revoked))


_DUE: Final = """
    SELECT account_id, device_id FROM device WHERE valid_until_ms <= $1 AND profiles <> '{}'
    ORDER BY valid_until_ms LIMIT $2
"""


async def _due(connection: Connection, now_ms: int, most: int) -> list[tuple[AccountId, DeviceId]]:
    return [(row["account_id"], row["device_id"]) for row in await connection.fetch(_DUE, now_ms, most)]


_STILL_DUE: Final = """
    SELECT profiles FROM device WHERE account_id = $1 AND device_id = $2 AND valid_until_ms <= $3
"""
_EXPIRE: Final = "UPDATE device SET profiles = '{}' WHERE account_id = $1 AND device_id = $2"


async def _expire(
    connection: Connection, account: AccountId, device: DeviceId, now_ms: int
) -> list[people.RosterChange]:
    await lock_account(connection, account)
    profiles = await connection.fetchval(_STILL_DUE, account, device, now_ms)
    if not profiles:
        return []  # a list gave it more time, or revoked it, in between
    await connection.execute(_EXPIRE, account, device)
    await _void_tickets(connection, account, device, now_ms, final=False)
    return await _update_positions(connection, account, [device], profiles, removal=True)


_LISTS: Final = """
    SELECT account_id, number, statement, hash FROM device_list
    WHERE account_id = $1 AND number >= $2 ORDER BY number LIMIT $3
"""


async def _lists(connection: Connection, account: AccountId, from_number: int, most: int) -> list[people.StoredList]:
    return [people.StoredList(*row) for row in await connection.fetch(_LISTS, account, from_number, most)]


_NEWEST_LIST: Final = """
    SELECT account_id, number, statement, hash FROM device_list
    WHERE account_id = $1 ORDER BY number DESC LIMIT 1
"""


async def _newest_list(connection: Connection, account: AccountId) -> people.StoredList | None:
    row = await connection.fetchrow(_NEWEST_LIST, account)
    return None if row is None else people.StoredList(*row)


_KEPT_LIST: Final = """
    SELECT coalesce(max(number), 0) FROM device_list WHERE account_id = $1 AND stored_ms < $2
"""


async def _kept_list(connection: Connection, account: AccountId, before_ms: int) -> Any:
    return await connection.fetchval(_KEPT_LIST, account, before_ms)


# The second half is for who was off while somebody wrote and left: few ask, and each step is one look into an index.
_MAY_READ_LISTS: Final = """
    SELECT EXISTS (
        SELECT FROM membership AS own JOIN membership AS other USING (conversation_id)
        WHERE own.account_id = $1 AND other.account_id = $3
    ) OR EXISTS (
        SELECT FROM delivery CROSS JOIN device_account CROSS JOIN LATERAL (
            SELECT FROM message
            WHERE message.conversation_id = delivery.conversation_id
              AND message.device_id = device_account.device_id AND seq >= start_seq
            LIMIT 1
        ) AS written
        WHERE delivery.device_id = $2 AND device_account.account_id = $3
    )
"""


async def _may_read_lists(
    connection: Connection, reader: AccountId, device: DeviceId | None, account: AccountId
) -> Any:
    return await connection.fetchval(_MAY_READ_LISTS, reader, device, account)


_IS_THERE: Final = """
    SELECT EXISTS (SELECT FROM device WHERE account_id = $1 AND device_id = $2)
        AND NOT EXISTS (SELECT FROM revocation WHERE account_id = $1 AND device_id = $2 AND final)
"""
"""One that an operator revoked is still in its owner's list, and comes back no more than one that is not."""
_ADOPT: Final = """
    UPDATE session SET device_id = $2
    WHERE account_id = $1 AND session_id = $3 AND (device_id IS NULL OR device_id = $2)
    RETURNING true
"""
_END_OTHERS: Final = "DELETE FROM session WHERE account_id = $1 AND device_id = $2 AND session_id <> $3"


async def _adopt(connection: Connection, account: AccountId, device: DeviceId, session: SessionId) -> AdoptFault | None:
    # The account's lock keeps the device from being revoked in between, and lets one session after the other adopt it.
    await lock_account(connection, account)
    if not await connection.fetchval(_IS_THERE, account, device):
        return AdoptFault.NO_DEVICE
    if not await connection.fetchval(_ADOPT, account, device, session):
        return AdoptFault.SESSION_BOUND
    await connection.execute(_END_OTHERS, account, device, session)
    return None


_FIND: Final = """
    SELECT account_id, device_id, noise_key, signing_key, identity_key, profiles, valid_until_ms, created_ms
    FROM device WHERE account_id = $1 AND device_id = $2
"""


async def _find(connection: Connection, account: AccountId, device: DeviceId) -> people.Device | None:
    row = await connection.fetchrow(_FIND, account, device)
    return None if row is None else _device(row)


_LIST_ALL: Final = """
    SELECT account_id, device_id, noise_key, signing_key, identity_key, profiles, valid_until_ms, created_ms
    FROM device WHERE account_id = $1 ORDER BY created_ms, device_id
"""


async def _list_all(connection: Connection, account: AccountId) -> list[people.Device]:
    return [_device(row) for row in await connection.fetch(_LIST_ALL, account)]


def _device(row: Any) -> people.Device:
    device = people.Device(*row)
    return replace(device, profiles=tuple(device.profiles))


# Only ever forward: the clocks of two servers differ, and what was void stays void.
VOID_TICKETS: Final = """
    INSERT INTO revocation AS before (account_id, device_id, not_before_ms, final, written_ms)
    VALUES ($1, $2, $3, $4, $3)
    ON CONFLICT (account_id, device_id) DO UPDATE SET
        not_before_ms = greatest(before.not_before_ms, excluded.not_before_ms),
        final = before.final OR excluded.final,
        written_ms = greatest(before.written_ms, excluded.written_ms)
"""


async def _void_tickets(
    connection: Connection, account: AccountId, device: DeviceId, now_ms: int, *, final: bool
) -> None:
    await connection.execute(VOID_TICKETS, account, device, now_ms, final)


async def _void_tickets_now(connection: Connection, account: AccountId, device: DeviceId, now_ms: int) -> None:
    await _void_tickets(connection, account, device, now_ms, final=False)


_CONVERSATIONS: Final = """
    SELECT DISTINCT conversation_id FROM membership
    WHERE account_id = $1 AND accepted AND ($2::uuid[] IS NULL OR profile_id = ANY ($2))
"""


async def _update_positions(
    connection: Connection,
    account: AccountId,
    devices: Sequence[DeviceId],
    profiles: Iterable[ProfileId] | None,
    *,
    removal: bool,
) -> list[people.RosterChange]:
    """Let positions begin and end, and rosters move, where these profiles are members; None: all of the account."""
    rows = await connection.fetch(_CONVERSATIONS, account, None if profiles is None else list(profiles))
    conversations: list[ConversationId] = [row["conversation_id"] for row in rows]
    if not conversations:
        return []
    await lock_conversations(connection, conversations)
    await begin_positions(connection, conversations, [account])
    await end_positions(connection, conversations, devices)
    return await move_rosters(connection, conversations, removal=removal)


_REVOCATIONS: Final = "SELECT device_id, not_before_ms, final FROM revocation WHERE written_ms >= $1"


async def _revocations(connection: Connection, since_ms: int) -> list[people.Revocation]:
    return [people.Revocation(*row) for row in await connection.fetch(_REVOCATIONS, since_ms)]
