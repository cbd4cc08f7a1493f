"""A device that strangers have put into more conversations than the server's table of locks has places."""

from domain.ports import Stores
from storage.database import Connection
from storage.island import Island
from tests.cast import BIRTH_MS, alice, alice_phone, revoke, settle

CROWD = 40_000
"""More than max_locks_per_transaction times max_connections, here and by PostgreSQL's defaults."""
_OPEN_MANY = """
    INSERT INTO conversation (conversation_id, kind, created_ms)
    SELECT uuidv7(), 'group', 0 FROM generate_series(1, $1)
"""
_SEAT = """
    INSERT INTO membership (conversation_id, profile_id, account_id, role, accepted, from_seq)
    SELECT conversation_id, $1, $2, 'member', true, 1 FROM conversation
"""
_DELIVER = "INSERT INTO delivery SELECT conversation_id, $1, 1, 0 FROM conversation"


async def test_a_device_in_very_many_conversations_can_be_revoked(
    stores: Stores, island: Island, beside: Connection
) -> None:
    """Whoever adds a profile to groups without end does not keep its owner from revoking a stolen device."""
    await settle(stores, alice)
    await island.run(beside.execute, _OPEN_MANY, CROWD)
    await island.run(beside.execute, _SEAT, alice.profile, alice.account)
    await island.run(beside.execute, _DELIVER, alice_phone.id)
    moves = await revoke(stores, alice.account, alice_phone.id, BIRTH_MS)
    assert moves is not None
    assert len(moves) == CROWD
    assert await stores.devices.find(alice.account, alice_phone.id) is None
