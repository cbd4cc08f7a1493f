"""Devices in Postgres, with all that a change of them moves."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from domain.people import model as people
from domain.people.ports import AdoptFault, DeviceAddFault
from storage.database import Connection
from storage.postgres.locks import lock_account, lock_conversations
from storage.postgres.talk.positions import begin_positions, end_positions, move_rosters
from storage.postgres.transactions import Transactions
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, SessionId


class PostgresDevices:
    """Keeps the promises of `domain.people.ports.DeviceStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def add(
        self, device: people.Device, session: SessionId, *, most: int
    ) -> Sequence[people.RosterChange] | DeviceAddFault:
        """Store a device, bind the session to it, and give it its positions."""
        return await self._transactions.run(_add, device, session, most)

    async def adopt(self, account: AccountId, device: DeviceId, session: SessionId) -> AdoptFault | None:
        """Bind the session to a device that is there, and end the device's other sessions."""
        return await self._transactions.run(_adopt, account, device, session)

    async def find(self, account: AccountId, device: DeviceId) -> people.Device | None:
        """Return the device, unless revoked."""
        return await self._transactions.ask(_find, account, device)

    async def list_all(self, account: AccountId) -> Sequence[people.Device]:
        """Return the account's devices that are not revoked, oldest first."""
        return await self._transactions.ask(_list_all, account)

    async def set_profiles(
        self, account: AccountId, device: DeviceId, profiles: Sequence[ProfileId], now_ms: int
    ) -> Sequence[people.RosterChange] | None:
        """Replace the whitelist and void the tickets issued before now."""
        return await self._transactions.run(_set_profiles, account, device, profiles, now_ms)

    async def void_tickets(self, account: AccountId, device: DeviceId, now_ms: int) -> None:
        """Void the tickets issued before now."""
        await self._transactions.ask(_void_tickets_now, account, device, now_ms)

    async def revoke(self, account: AccountId, device: DeviceId, now_ms: int) -> Sequence[people.RosterChange] | None:
        """Revoke for ever."""
        return await self._transactions.run(_revoke, account, device, now_ms)

    async def revocations(self, since_ms: int) -> Sequence[people.Revocation]:
        """Return the revocations written at or after `since_ms`."""
        return await self._transactions.ask(_revocations, since_ms)


_IS_USED: Final = "SELECT EXISTS (SELECT FROM device_account WHERE device_id = $1)"
_IS_FREE: Final = """
    SELECT device_id IS NULL FROM session WHERE account_id = $1 AND session_id = $2 FOR NO KEY UPDATE
"""
_COUNT: Final = "SELECT count(*) FROM device WHERE account_id = $1"
_CLAIM_ID: Final = """
    INSERT INTO device_account (device_id, account_id) VALUES ($1, $2)
    ON CONFLICT (device_id) DO NOTHING
    RETURNING true
"""
_ADD: Final = """
    INSERT INTO device (
        account_id, device_id, noise_key, signing_key, identity_key, signature, profiles, created_ms
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_BIND: Final = "UPDATE session SET device_id = $3 WHERE account_id = $1 AND session_id = $2"


async def _add(
    connection: Connection, device: people.Device, session: SessionId, most: int
) -> list[people.RosterChange] | DeviceAddFault:
    await lock_account(connection, device.account)
    if await connection.fetchval(_IS_USED, device.id):
        return DeviceAddFault.EXISTS
    if not await connection.fetchval(_IS_FREE, device.account, session):
        return DeviceAddFault.SESSION_BOUND
    if await connection.fetchval(_COUNT, device.account) >= most:
        return DeviceAddFault.TOO_MANY
    # Last of the questions, because it writes: another account may take the same id in the same moment.
    if not await connection.fetchval(_CLAIM_ID, device.id, device.account):
        return DeviceAddFault.EXISTS
    await connection.execute(
        _ADD,
        device.account,
        device.id,
        device.noise_key,
        device.signing_key,
        device.identity_key,
        device.signature,
        device.profiles,
        device.created_ms,
    )
    await connection.execute(_BIND, device.account, session, device.id)
    return await _update_positions(connection, device.account, device.id, device.profiles)


_IS_THERE: Final = "SELECT EXISTS (SELECT FROM device WHERE account_id = $1 AND device_id = $2)"
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
    SELECT account_id, device_id, noise_key, signing_key, identity_key, signature, profiles, created_ms
    FROM device WHERE account_id = $1 AND device_id = $2
"""


async def _find(connection: Connection, account: AccountId, device: DeviceId) -> people.Device | None:
    row = await connection.fetchrow(_FIND, account, device)
    return None if row is None else _device(row)


_LIST_ALL: Final = """
    SELECT account_id, device_id, noise_key, signing_key, identity_key, signature, profiles, created_ms
    FROM device WHERE account_id = $1 ORDER BY created_ms, device_id
"""


async def _list_all(connection: Connection, account: AccountId) -> list[people.Device]:
    return [_device(row) for row in await connection.fetch(_LIST_ALL, account)]


def _device(row: Any) -> people.Device:
    device = people.Device(*row)
    return replace(device, profiles=tuple(device.profiles))


_WHITELIST: Final = "SELECT profiles FROM device WHERE account_id = $1 AND device_id = $2"
_SET_PROFILES: Final = "UPDATE device SET profiles = $3 WHERE account_id = $1 AND device_id = $2"


async def _set_profiles(
    connection: Connection, account: AccountId, device: DeviceId, profiles: Sequence[ProfileId], now_ms: int
) -> list[people.RosterChange] | None:
    await lock_account(connection, account)
    before = await connection.fetchval(_WHITELIST, account, device)
    if before is None:
        return None
    await connection.execute(_SET_PROFILES, account, device, list(dict.fromkeys(profiles)))
    await _void_tickets(connection, account, device, now_ms, final=False)
    return await _update_positions(connection, account, device, set(before) ^ set(profiles))


_REVOKE: Final = """
    WITH revoked AS (
        DELETE FROM device WHERE account_id = $1 AND device_id = $2 RETURNING *
    ),
    past AS (
        INSERT INTO past_device (
            account_id, device_id, noise_key, signing_key, identity_key, signature, created_ms, revoked_ms
        )
        SELECT account_id, device_id, noise_key, signing_key, identity_key, signature, created_ms, $3 FROM revoked
    )
    SELECT profiles FROM revoked
"""


async def _revoke(
    connection: Connection, account: AccountId, device: DeviceId, now_ms: int
) -> list[people.RosterChange] | None:
    await lock_account(connection, account)
    profiles = await connection.fetchval(_REVOKE, account, device, now_ms)
    if profiles is None:
        return None
    await _void_tickets(connection, account, device, now_ms, final=True)
    return await _update_positions(connection, account, device, profiles, removal=True)


# Only ever forward: the clocks of two servers differ, and what was void stays void.
_VOID_TICKETS: Final = """
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
    await connection.execute(_VOID_TICKETS, account, device, now_ms, final)


async def _void_tickets_now(connection: Connection, account: AccountId, device: DeviceId, now_ms: int) -> None:
    await _void_tickets(connection, account, device, now_ms, final=False)


_CONVERSATIONS: Final = (
    "SELECT DISTINCT conversation_id FROM membership WHERE profile_id = ANY ($1) AND account_id = $2"
)


async def _update_positions(
    connection: Connection,
    account: AccountId,
    device: DeviceId,
    profiles: Iterable[ProfileId],
    *,
    removal: bool = False,
) -> list[people.RosterChange]:
    """Let positions begin and end, and rosters move, where these profiles are members."""
    rows = await connection.fetch(_CONVERSATIONS, list(profiles), account)
    conversations: list[ConversationId] = [row["conversation_id"] for row in rows]
    if not conversations:
        return []
    await lock_conversations(connection, conversations)
    await begin_positions(connection, conversations, [account])
    await end_positions(connection, conversations, [device])
    return await move_rosters(connection, conversations, removal=removal)


_REVOCATIONS: Final = "SELECT device_id, not_before_ms, final FROM revocation WHERE written_ms >= $1"


async def _revocations(connection: Connection, since_ms: int) -> list[people.Revocation]:
    return [people.Revocation(*row) for row in await connection.fetch(_REVOCATIONS, since_ms)]
