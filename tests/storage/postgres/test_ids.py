"""The database refuses ids that are no UUIDv7, and keeps what is for all apart from what is for one device."""

import shutil
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from domain.ports import Stores
from domain.talk.model import Confirmation, LogRequest
from storage.database import Connection
from storage.island import Island
from storage.migrate import FOLDER, migrate, read_migrations
from tests.cast import alice, alice_phone, bob, bob_phone, open_conversation, settle
from tests.ids import id_of
from tests.storage.conftest import Connect
from tests.store_contracts.messages import draft
from varde_contract.ids import DeviceId

NIL = UUID(int=0)
V4 = uuid4()

INSERTS = {
    "account": "INSERT INTO account VALUES ($1, 0)",
    "conversation": "INSERT INTO conversation (conversation_id, kind, created_ms) VALUES ($1, 'group', 0)",
    "position": "INSERT INTO delivery VALUES (uuidv7(), $1, 1, 0)",
    "message": "INSERT INTO message VALUES (uuidv7(), 1, $1, uuidv7(), uuidv7(), uuidv7(), 0)",
    "client id": "INSERT INTO message VALUES (uuidv7(), 1, uuidv7(), $1, uuidv7(), uuidv7(), 0)",
    "sender": "INSERT INTO message VALUES (uuidv7(), 1, uuidv7(), uuidv7(), uuidv7(), $1, 0)",
    "recipient": (
        "INSERT INTO cipher (conversation_id, seq, for_all, device_id, sealed) VALUES (uuidv7(), 1, false, $1, 'x')"
    ),
}
OLD_DEVICE = "INSERT INTO device VALUES ($1, $2, $3, $3, $3, $4, '{}', 0)"
READERS = (
    "INSERT INTO cipher (conversation_id, seq, for_all, device_id, sealed) VALUES (uuidv7(), 1, true, uuidv7(), 'x')",
    "INSERT INTO cipher (conversation_id, seq, for_all, device_id, sealed) VALUES (uuidv7(), 1, false, NULL, 'x')",
)


@pytest.mark.parametrize("statement", INSERTS.values(), ids=INSERTS)
async def test_no_other_id_can_be_stored(statement: str, island: Island, beside: Connection) -> None:
    """Whatever a server lets through, the database has UUIDv7 alone: not the id of all zeros, and no random one."""
    for other in (NIL, V4, UUID(int=2**128 - 1)):
        with pytest.raises(asyncpg.CheckViolationError):
            await island.run(beside.execute, statement, other)
    await island.run(beside.execute, statement, id_of(1))


@pytest.mark.parametrize("table", ["device", "profile", "session"])
async def test_what_an_account_has_is_named_alike(
    table: str, stores: Stores, island: Island, beside: Connection
) -> None:
    """Devices, profiles and sessions that are there cannot be given another id either."""
    await settle(stores, alice, bob)
    with pytest.raises(asyncpg.CheckViolationError):
        await island.run(beside.execute, f"UPDATE {table} SET {table}_id = $1", NIL)  # noqa: S608 - three words of ours


@pytest.mark.parametrize("statement", READERS)
async def test_a_ciphertext_is_for_all_or_for_one(statement: str, island: Island, beside: Connection) -> None:
    """A row for all has no device, and a row without a device is for all."""
    with pytest.raises(asyncpg.CheckViolationError):
        await island.run(beside.execute, statement)


async def test_a_log_of_before_is_read_as_it_was_meant(
    island: Island, connect: Connect, bare_database_url: str, tmp_path: Path
) -> None:
    """What was stored under the device of all zeros is for all now, and that device itself is in no roster any more."""
    connection = await connect(bare_database_url)
    names = [f"{each}.sql" for each in read_migrations()]
    for name in names[: names.index("0010_ids.sql")]:
        shutil.copy(FOLDER / name, tmp_path)
    await island.run(migrate, connection, tmp_path)
    talk, account = id_of(1), id_of(2)
    await island.run(connection.execute, "INSERT INTO account VALUES ($1, 0)", account)
    await island.run(connection.execute, "INSERT INTO conversation VALUES ($1, 'group', NULL, 1, 1, 0)", talk)
    key, signature = b"k" * 32, b"s" * 64
    for device in (NIL, id_of(3)):
        await island.run(connection.execute, OLD_DEVICE, account, device, key, signature)
        await island.run(connection.execute, "INSERT INTO delivery VALUES ($1, $2, 1, 0)", talk, device)
    await island.run(connection.execute, "INSERT INTO cipher VALUES ($1, 1, $2, 'group')", talk, NIL)
    await island.run(connection.execute, "INSERT INTO cipher VALUES ($1, 1, $2, 'one')", talk, id_of(3))
    shutil.copy(FOLDER / "0010_ids.sql", tmp_path)
    await island.run(migrate, connection, tmp_path)
    rows = await island.run(connection.fetch, "SELECT for_all, device_id, sealed FROM cipher ORDER BY for_all")
    assert [tuple(row) for row in rows] == [(False, id_of(3), b"one"), (True, None, b"group")]
    assert await island.run(connection.fetchval, "SELECT array_agg(device_id) FROM device") == [id_of(3)]
    assert await island.run(connection.fetchval, "SELECT array_agg(device_id) FROM delivery") == [id_of(3)]
    assert await island.run(connection.fetchval, "SELECT roster_version FROM conversation") == 2


async def test_no_single_device_confirms_for_all(stores: Stores, island: Island, beside: Connection) -> None:
    """Even a device of all zeros in the table of positions gets no group's ciphertext deleted, nor is it served one."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await stores.journal.commit([draft(alice_phone, talk)])
    await island.run(beside.execute, "ALTER TABLE delivery DROP CONSTRAINT delivery_device_uuid7")
    await island.run(beside.execute, "INSERT INTO delivery VALUES ($1, $2, 1, 0)", talk, NIL)
    await stores.mailbox.confirm([Confirmation(talk, DeviceId(NIL), 1)])
    (page,) = await stores.mailbox.read([LogRequest(bob_phone.id, talk, 1, 10, 1_000)])
    assert page is not None
    assert [entry.ciphertext for entry in page.entries] == [b"sealed"]
