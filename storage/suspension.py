"""What an operator may do to somebody: suspend an account, let it go on, and refuse a device for good.

The server cannot take a device out of its owner's list, which devices sign. It can refuse to serve it: no session, no
ticket. That is written to the database, where each relay looks every second, and told on the bus, which is faster.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import asyncpg
from msgspec import Struct

from domain.people.events import TicketsRevoked
from settings.storage import StorageSettings
from storage.database import Connection, open_database
from storage.island import open_island
from storage.postgres.locks import lock_account
from storage.postgres.people.devices import VOID_TICKETS
from storage.stores import open_storage
from varde_contract.ids import AccountId, DeviceId

T = TypeVar("T")


class Shown(Struct, frozen=True):
    """An account as an operator sees it. `devices` with when they were registered, in milliseconds."""

    account: AccountId
    suspended_ms: int | None
    devices: tuple[tuple[DeviceId, int], ...]


async def find_account(settings: StorageSettings, digests: Sequence[bytes]) -> AccountId | None:
    """Return whose address has one of these digests."""
    found = await _ask(settings, lambda connection: connection.fetchval(_BY_ADDRESS, list(digests)))
    return None if found is None else AccountId(found)


async def show_account(settings: StorageSettings, account: AccountId) -> Shown | None:
    """Return an account; None when there is none."""

    async def read(connection: Connection) -> Shown | None:
        row = await connection.fetchrow(_ACCOUNT, account)
        devices = await connection.fetch(_DEVICES, account)
        return (
            None
            if row is None
            else Shown(account, row["suspended_ms"], tuple((DeviceId(each), ms) for each, ms in devices))
        )

    return await _ask(settings, read)


async def suspend_account(settings: StorageSettings, account: AccountId) -> bool:
    """End all sessions and connections of an account, and let nobody sign in to it. False: there is no such account."""
    now_ms = _now_ms()

    async def write(connection: Connection) -> list[DeviceId] | None:
        async with connection.transaction():
            # First: whoever opens a session meanwhile waits for this row, or has ended before its sessions do.
            if await connection.fetchval(_SUSPEND, account, now_ms) is None:
                return None
            await connection.execute("DELETE FROM session WHERE account_id = $1", account)
            devices = [device for device, _ in await connection.fetch(_DEVICES, account)]
            await connection.executemany(VOID_TICKETS, [(account, device, now_ms, False) for device in devices])
            return devices

    devices = await _ask(settings, write)
    await _tell(settings, [TicketsRevoked(device, now_ms, final=False) for device in devices or ()])
    return devices is not None


async def resume_account(settings: StorageSettings, account: AccountId) -> bool:
    """Let people sign in to an account again. False: it was not suspended."""
    return bool(await _ask(settings, lambda connection: connection.fetchval(_RESUME, account)))


async def revoke_device(settings: StorageSettings, device: DeviceId) -> bool:
    """End a device's session and connection, and refuse its tickets for ever. False: there is no such device."""
    now_ms = _now_ms()

    async def write(connection: Connection) -> bool:
        async with connection.transaction():
            account = await connection.fetchval("SELECT account_id FROM device_account WHERE device_id = $1", device)
            if account is None:
                return False
            await lock_account(connection, account)  # so that it is not adopted by another session meanwhile
            await connection.execute("DELETE FROM session WHERE account_id = $1 AND device_id = $2", account, device)
            await connection.execute(VOID_TICKETS, account, device, now_ms, True)
            return True

    found = await _ask(settings, write)
    await _tell(settings, [TicketsRevoked(device, now_ms, final=True)] * found)
    return found


async def _ask(settings: StorageSettings, question: Callable[[Connection], Awaitable[T]]) -> T:
    async def ask(url: str) -> T:
        connection = await asyncpg.connect(url)
        try:
            return await question(connection)
        finally:
            await connection.close()

    async with open_database(settings.database) as url, open_island() as island:
        return await island.run(ask, url)


async def _tell(settings: StorageSettings, events: Sequence[TicketsRevoked]) -> None:
    if events:
        async with open_storage(replace(settings, pool_min=1, pool_max=1)) as stores:
            await stores.bus.publish(events)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_BY_ADDRESS = "SELECT account_id FROM address_account WHERE address = ANY ($1)"
_ACCOUNT = "SELECT suspended_ms FROM account WHERE account_id = $1"
_DEVICES = "SELECT device_id, created_ms FROM device WHERE account_id = $1 ORDER BY device_id"
_SUSPEND = """
    UPDATE account SET suspended_ms = coalesce(suspended_ms, $2) WHERE account_id = $1 RETURNING true
"""
_RESUME = """
    UPDATE account SET suspended_ms = NULL WHERE account_id = $1 AND suspended_ms IS NOT NULL RETURNING true
"""
