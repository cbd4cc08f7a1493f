"""What an operator does to somebody, in the database: no session is left and none comes, and it is all taken back."""

from msgspec.structs import replace

from domain.people.model import Session
from domain.people.ports import AdoptFault
from domain.ports import Stores
from settings.storage import StorageSettings
from storage.suspension import find_account, resume_account, revoke_device, show_account, suspend_account
from tests.cast import BIRTH_MS, alice, alice_laptop, alice_phone, bob, bob_phone, settle
from tests.ids import id_of
from varde_contract.ids import AccountId, DeviceId, SessionId

STRANGER = AccountId(id_of(99))


def another(session: Session) -> Session:
    """A session that was opened just now."""
    return replace(session, id=SessionId(id_of(1)))


async def sessions_of(stores: Stores, account: AccountId) -> set[SessionId]:
    """The live sessions of an account."""
    return {each.id for each in await stores.sessions.list_live(account, BIRTH_MS)}


async def test_a_suspended_account_has_no_session_and_gets_none(config: StorageSettings, stores: Stores) -> None:
    """Its tickets are void, others go on; a session that was about to be opened is not; afterwards it is as before."""
    await settle(stores, alice, bob)
    assert await suspend_account(config, alice.account)
    account, _ = await stores.sign_in.account_of(alice.address, STRANGER, BIRTH_MS)
    assert account.suspended
    await stores.sessions.add(another(alice_phone.session))
    assert await sessions_of(stores, alice.account) == set()
    assert await sessions_of(stores, bob.account) == {device.session.id for device in bob.devices}
    void = await stores.devices.revocations(0)
    assert {each.device: each.final for each in void} == {alice_phone.id: False, alice_laptop.id: False}
    shown = await show_account(config, alice.account)
    assert shown is not None
    assert shown.suspended_ms is not None
    assert {device for device, _ in shown.devices} == {alice_phone.id, alice_laptop.id}
    assert await resume_account(config, alice.account)
    assert not await resume_account(config, alice.account)
    await stores.sessions.add(another(alice_phone.session))
    assert await sessions_of(stores, alice.account) == {SessionId(id_of(1))}


async def test_a_revoked_device_is_not_adopted(config: StorageSettings, stores: Stores) -> None:
    """It is in its owner's list as before, its tickets are void for ever, and no new session has it."""
    await settle(stores, alice)
    assert await revoke_device(config, alice_phone.id)
    assert await sessions_of(stores, alice.account) == {alice_laptop.session.id}
    assert [(each.device, each.final) for each in await stores.devices.revocations(0)] == [(alice_phone.id, True)]
    assert await stores.devices.find(alice.account, alice_phone.id) is not None
    await stores.sessions.add(another(alice_phone.session))
    answer = await stores.devices.adopt(alice.account, alice_phone.id, SessionId(id_of(1)))
    assert answer is AdoptFault.NO_DEVICE


async def test_who_is_not_there_is_left_alone(config: StorageSettings, stores: Stores) -> None:
    """Nothing is written for an account or a device that nobody has."""
    await settle(stores, alice)
    assert await find_account(config, [bob.address, alice.address]) == alice.account
    assert await find_account(config, [bob.address]) is None
    assert await show_account(config, STRANGER) is None
    assert not await suspend_account(config, STRANGER)
    assert not await revoke_device(config, DeviceId(bob_phone.id))
    assert await stores.devices.revocations(0) == []
