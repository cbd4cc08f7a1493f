"""What the database keeps of a revoked device, and for how long."""

from domain.ports import Stores
from storage.database import Connection
from storage.island import Island
from tests.cast import BIRTH_MS, MANY, alice, alice_laptop, alice_phone, settle

RETENTION_MS = 1_000
_KEPT = "SELECT array_agg(device_id) FROM past_device"


async def test_a_certificate_goes_when_its_messages_must_be_gone(
    stores: Stores, island: Island, beside: Connection
) -> None:
    """A revoked device's row is swept after twice the retention, with or without messages, and not before."""
    await settle(stores, alice)
    await stores.devices.revoke(alice.account, alice_phone.id, BIRTH_MS)
    await stores.devices.revoke(alice.account, alice_laptop.id, BIRTH_MS + 1)
    await stores.retention.sweep(BIRTH_MS + 2 * RETENTION_MS - 1, retention_ms=RETENTION_MS, limit=MANY)
    assert set(await island.run(beside.fetchval, _KEPT)) == {alice_phone.id, alice_laptop.id}
    await stores.retention.sweep(BIRTH_MS + 2 * RETENTION_MS, retention_ms=RETENTION_MS, limit=MANY)
    assert await island.run(beside.fetchval, _KEPT) == [alice_laptop.id]
