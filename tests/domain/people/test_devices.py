"""Devices: seen by their owner, bound to a session by their own signature."""

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from domain.people.devices import Devices
from domain.people.model import Actor, ListChange
from domain.people.ports import AdoptFault
from simulation.stores.devices import MemoryDevices
from tests.cast import (
    BIRTH_MS,
    CastDevice,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_phone,
    mallory,
    next_change,
    revoke,
)
from tests.domain.registry import Registry, code_of
from varde_contract.ids import AccountId, DeviceId, SessionId
from varde_contract.refusals import RefusalCode
from varde_contract.signed_statements import session_statement

tablet = alice.further_device("tablet")
WAITED_MS = 5_000


@dataclass(frozen=True)
class SignedIn:
    """A server that knows the cast, and Alice's new tablet in a session that has no device yet."""

    registry: Registry
    actor: Actor


class RevokedMeanwhile(MemoryDevices):
    """Devices that are revoked right before a session adopts them."""

    revoking: ListChange

    async def adopt(self, account: AccountId, device: DeviceId, session: SessionId) -> AdoptFault | None:
        """Too late."""
        await self.apply(self.revoking)
        return await super().adopt(account, device, session)


@pytest.fixture
async def tablets() -> SignedIn:
    """See `SignedIn`."""
    registry = Registry()
    await registry.settle(alice, bob, mallory)
    await registry.stores.sessions.add(tablet.session)
    return SignedIn(registry, Actor(alice.account, tablet.session.id, None))


async def test_the_list_has_the_devices_of_the_account_only(tablets: SignedIn) -> None:
    """An owner sees their own devices, without the revoked ones."""
    await revoke(tablets.registry.stores, alice.account, alice_laptop.id, BIRTH_MS)
    assert list(await tablets.registry.devices.list_all(tablets.actor)) == [alice_phone.model]


def proof(device: CastDevice, session: SessionId = tablet.session.id, device_id: DeviceId | None = None) -> bytes:
    """What this device signs in order to come back in a session."""
    return device.signing.sign(session_statement(session, device_id or device.id))


async def test_a_device_comes_back_in_a_new_session(tablets: SignedIn) -> None:
    """The new session acts as the device, the old one is over, and nobody has to be told."""
    registry = tablets.registry
    assert await registry.devices.adopt(tablets.actor, alice_phone.id, proof(alice_phone)) == alice_phone.model
    acting = replace(tablets.actor, device=alice_phone.id)
    assert await registry.sessions.authenticate(tablet.access_token) == acting
    assert code_of(await registry.sessions.authenticate(alice_phone.access_token)) is RefusalCode.UNAUTHENTICATED
    assert await registry.sessions.authenticate(alice_laptop.access_token) == alice_laptop.actor
    assert registry.bus.published == []


async def test_coming_back_again_answers_the_same(tablets: SignedIn) -> None:
    """A client that lost the answer asks again, and the session it has stays the device's."""
    for actor in (tablets.actor, replace(tablets.actor, device=alice_phone.id)):
        adopted = await tablets.registry.devices.adopt(actor, alice_phone.id, proof(alice_phone))
        assert adopted == alice_phone.model


FORGED = {
    "of another device's key": proof(alice_laptop, device_id=alice_phone.id),
    "of another device for itself": proof(alice_laptop),
    "of the root key": alice.root.sign(session_statement(tablet.session.id, alice_phone.id)),
    "for the session before": proof(alice_phone, session=alice_phone.session.id),
    "for another device": proof(alice_phone, device_id=alice_laptop.id),
    "with its ids exchanged": alice_phone.signing.sign(
        session_statement(SessionId(alice_phone.id), DeviceId(tablet.session.id))
    ),
    "over a prekey": alice_phone.fallback_key().signature,
    "cut short": proof(alice_phone)[:-1],
    "of zeros": bytes(64),
    "of nothing": b"",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
async def test_refusal_bad_signature_for_a_proof(tablets: SignedIn, forged: bytes) -> None:
    """Only the device's own key, over this session and this device, lets it come back; otherwise nothing changes."""
    registry = tablets.registry
    refused = await registry.devices.adopt(tablets.actor, alice_phone.id, forged)
    assert code_of(refused) is RefusalCode.BAD_SIGNATURE
    assert await registry.sessions.authenticate(tablet.access_token) == tablets.actor
    assert await registry.sessions.authenticate(alice_phone.access_token) == alice_phone.actor


async def test_refusal_bad_signature_for_a_proof_seen_before(tablets: SignedIn) -> None:
    """A proof that brought a device back is good for that session only: whoever copied it cannot use it in theirs."""
    seen = proof(alice_phone)
    await tablets.registry.devices.adopt(tablets.actor, alice_phone.id, seen)
    later = await tablets.registry.sessions.open(alice.account)
    thief = Actor(alice.account, later.session.id, None)
    refused = await tablets.registry.devices.adopt(thief, alice_phone.id, seen)
    assert code_of(refused) is RefusalCode.BAD_SIGNATURE


async def test_refusal_not_found_for_a_device_that_cannot_come_back(tablets: SignedIn) -> None:
    """An unknown, a revoked and somebody else's device answer the same, however good the proof is."""
    await revoke(tablets.registry.stores, alice.account, alice_laptop.id, BIRTH_MS)
    answers = [
        await tablets.registry.devices.adopt(tablets.actor, device.id, proof(device))
        for device in (tablet, alice_laptop, bob_phone)
    ]
    assert code_of(answers[0]) is RefusalCode.NOT_FOUND
    assert answers == [answers[0]] * 3


async def test_refusal_session_has_device_for_another_device(tablets: SignedIn) -> None:
    """A session does not go over from one device to another, and one that has ended has none."""
    devices, phone = tablets.registry.devices, alice_phone.session.id
    refused = await devices.adopt(alice_phone.actor, alice_laptop.id, proof(alice_laptop, phone))
    assert code_of(refused) is RefusalCode.SESSION_HAS_DEVICE
    await tablets.registry.sessions.end(tablets.actor, tablets.actor.session)
    refused = await devices.adopt(tablets.actor, alice_phone.id, proof(alice_phone))
    assert code_of(refused) is RefusalCode.SESSION_HAS_DEVICE
    assert await tablets.registry.sessions.authenticate(alice_phone.access_token) == alice_phone.actor


async def test_refusal_not_found_for_a_device_revoked_while_it_comes_back(tablets: SignedIn) -> None:
    """The proof was judged while the device was there; the store has the last word."""
    registry = tablets.registry
    store = RevokedMeanwhile(registry.memory, registry.interference)
    store.revoking = await next_change(registry.stores, alice.account, revoke=[alice_phone.id])
    devices = Devices(store)
    refused = await devices.adopt(tablets.actor, alice_phone.id, proof(alice_phone))
    assert code_of(refused) is RefusalCode.NOT_FOUND
    assert await registry.sessions.authenticate(tablet.access_token) == tablets.actor


async def test_a_revoked_device_has_no_session_any_more(tablets: SignedIn) -> None:
    """A thief with the device cannot use its tokens."""
    await revoke(tablets.registry.stores, alice.account, alice_phone.id, BIRTH_MS)
    assert (
        code_of(await tablets.registry.sessions.authenticate(alice_phone.access_token)) is RefusalCode.UNAUTHENTICATED
    )
    refreshed = await tablets.registry.sessions.refresh(alice_phone.refresh_token)
    assert code_of(refreshed) is RefusalCode.UNAUTHENTICATED


async def test_refusal_no_device_for_a_session_without_one(tablets: SignedIn) -> None:
    """What only a device may do needs one; a device that was revoked meanwhile is none."""
    assert code_of(await tablets.registry.devices.find_own(tablets.actor)) is RefusalCode.NO_DEVICE
    assert await tablets.registry.devices.find_own(alice_phone.actor) == alice_phone.model
    await revoke(tablets.registry.stores, alice.account, alice_phone.id, BIRTH_MS)
    assert code_of(await tablets.registry.devices.find_own(alice_phone.actor)) is RefusalCode.NO_DEVICE
