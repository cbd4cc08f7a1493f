"""Devices: certified by the root key, bound to a session, revoked for ever.

What a relay makes of a revocation is not asked here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from domain.people.devices import Devices, Registered
from domain.people.events import DevicesChanged, TicketsRevoked
from domain.people.model import Actor, Device, Registration, RosterChange
from domain.people.ports import AdoptFault
from domain.people.revocations import Revocations
from tests.cast import (
    BIRTH_MS,
    CastDevice,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_phone,
    mallory,
    open_conversation,
)
from tests.domain.registry import Registry, code_of
from tests.doubles.devices import MemoryDevices
from tests.ids import id_of
from varde_contract.ids import AccountId, DeviceId, ProfileId, SessionId
from varde_contract.limits import DEVICES_PER_ACCOUNT
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.signed_statements import session_statement

tablet = alice.further_device("tablet")
WAITED_MS = 5_000


def request(device: CastDevice) -> Registration:
    """What a client sends to register this device."""
    model = device.model
    return Registration(
        device=model.id,
        noise_key=model.noise_key,
        signing_key=model.signing_key,
        identity_key=model.identity_key,
        signature=model.signature,
        profiles=model.profiles,
    )


@dataclass(frozen=True)
class SignedIn:
    """A server that knows the cast, and Alice's new tablet in a session that has no device yet."""

    registry: Registry
    actor: Actor

    async def register(self, new: Registration, actor: Actor | None = None) -> Registered | Refused:
        """Ask for it."""
        return await self.registry.devices.register(actor or self.actor, new)


class RevokedMeanwhile(MemoryDevices):
    """Devices that are revoked right before a session adopts them."""

    async def adopt(self, account: AccountId, device: DeviceId, session: SessionId) -> AdoptFault | None:
        """Too late."""
        await self.revoke(account, device, BIRTH_MS)
        return await super().adopt(account, device, session)


@pytest.fixture
async def tablets() -> SignedIn:
    """See `SignedIn`."""
    registry = Registry()
    await registry.settle(alice, bob, mallory)
    await registry.stores.sessions.add(tablet.session)
    return SignedIn(registry, Actor(alice.account, tablet.session.id, None))


async def test_a_certified_device_is_registered_and_bound_to_its_session(tablets: SignedIn) -> None:
    """The session acts as the device from then on."""
    registered = await tablets.register(request(tablet))
    assert registered == Registered(replace(tablet.model, created_ms=tablets.registry.clock()), made=True)
    assert await tablets.registry.sessions.authenticate(tablet.access_token) == tablet.actor


async def test_a_new_device_is_announced_to_the_conversations(tablets: SignedIn) -> None:
    """Others have to encrypt for it from now on, so their rosters have moved."""
    conversation = await open_conversation(tablets.registry.stores, alice, bob)
    await tablets.register(request(tablet))
    (event,) = tablets.registry.bus.published
    roster = (await tablets.registry.stores.conversations.rosters([conversation]))[conversation]
    assert event == DevicesChanged(conversation, roster.version)
    assert tablet.id in roster.devices


async def test_registering_again_word_for_word_answers_the_same(tablets: SignedIn) -> None:
    """A client that lost the answer asks again, and does not end up without a device."""
    first = await tablets.register(request(tablet))
    assert isinstance(first, Registered)
    assert await tablets.register(request(tablet), tablet.actor) == Registered(first.device, made=False)


async def test_refusal_session_has_device(tablets: SignedIn) -> None:
    """A session is bound to one device."""
    another = alice.further_device("watch")
    refused = await tablets.register(request(another), alice_phone.actor)
    assert code_of(refused) is RefusalCode.SESSION_HAS_DEVICE


async def test_refusal_device_exists(tablets: SignedIn) -> None:
    """An id that a device has, or had before it was revoked, is not given again."""
    assert code_of(await tablets.register(request(alice_phone))) is RefusalCode.DEVICE_EXISTS
    await tablets.registry.devices.revoke(tablets.actor, alice_phone.id)
    assert code_of(await tablets.register(request(alice_phone))) is RefusalCode.DEVICE_EXISTS


async def test_refusal_no_root_key(tablets: SignedIn) -> None:
    """Without a root key there is nothing that could certify a device."""
    registry = Registry()
    await registry.stores.sign_in.account_of(alice.address, alice.account, BIRTH_MS)
    assert code_of(await registry.devices.register(tablets.actor, request(tablet))) is RefusalCode.NO_ROOT_KEY


@pytest.mark.parametrize("field", ["noise_key", "signing_key", "identity_key"])
@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31)])
async def test_refusal_bad_key_for_a_device(tablets: SignedIn, field: str, key: bytes) -> None:
    """All-zero and other small-order keys are refused in every place, whoever signed them."""
    assert code_of(await tablets.register(replace(request(tablet), **{field: key}))) is RefusalCode.BAD_KEY


@pytest.mark.parametrize("field", ["noise_key", "identity_key"])
async def test_refusal_bad_signature_when_a_key_was_exchanged(tablets: SignedIn, field: str) -> None:
    """A key the root key did not sign is refused, be it a good one: a server in the middle cannot add its own."""
    swapped = replace(request(tablet), **{field: bob_phone.model.noise_key})
    assert code_of(await tablets.register(swapped)) is RefusalCode.BAD_SIGNATURE


async def test_refusal_bad_signature_by_another_root_key(tablets: SignedIn) -> None:
    """Bob cannot certify a device of Alice, nor can his certificate be used for hers."""
    theirs = replace(request(bob.further_device("tablet")), profiles=tablet.model.profiles)
    assert code_of(await tablets.register(theirs)) is RefusalCode.BAD_SIGNATURE


async def test_refusal_profile_not_allowed_on_a_new_whitelist(tablets: SignedIn) -> None:
    """A device receives for its owner's profiles only; somebody else's answers as one that does not exist."""
    theirs = await tablets.register(replace(request(tablet), profiles=(alice.profile, bob.profile)))
    nobody = await tablets.register(replace(request(tablet), profiles=(alice.profile, ProfileId(id_of(7)))))
    assert theirs == nobody
    assert code_of(theirs) is RefusalCode.PROFILE_NOT_ALLOWED


async def test_refusal_too_many_devices(tablets: SignedIn) -> None:
    """An account has sixteen devices at most."""
    for number in range(DEVICES_PER_ACCOUNT - 2):
        device = alice.further_device(f"spare{number}")
        await tablets.registry.stores.sessions.add(device.session)
        made = await tablets.register(request(device), Actor(alice.account, device.session.id, None))
        assert isinstance(made, Registered)
    assert code_of(await tablets.register(request(tablet))) is RefusalCode.TOO_MANY


async def test_the_list_has_the_devices_of_the_account_only(tablets: SignedIn) -> None:
    """An owner sees their own devices, without the revoked ones."""
    await tablets.registry.devices.revoke(tablets.actor, alice_laptop.id)
    assert list(await tablets.registry.devices.list_all(tablets.actor)) == [alice_phone.model]


async def test_a_changed_whitelist_voids_tickets_and_moves_rosters(tablets: SignedIn) -> None:
    """The connection that still receives for the old profiles is cut, and senders look at the roster again."""
    registry = tablets.registry
    conversation = await open_conversation(registry.stores, alice, bob)
    changed = await registry.devices.set_profiles(tablets.actor, alice_phone.id, [alice.jobb.id, alice.jobb.id])
    assert isinstance(changed, Device)
    assert changed.profiles == (alice.jobb.id,)
    cut, moved = registry.bus.published
    assert cut == TicketsRevoked(alice_phone.id, registry.clock(), final=False)
    roster = (await registry.stores.conversations.rosters([conversation]))[conversation]
    assert moved == DevicesChanged(conversation, roster.version)
    assert alice_phone.id not in roster.devices


class HeldUp(MemoryDevices):
    """Devices whose changes wait for somebody else's, while time passes."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry.memory, registry.interference)
        self._clock = registry.clock

    async def set_profiles(
        self, account: AccountId, device: DeviceId, profiles: Sequence[ProfileId], now_ms: int
    ) -> Sequence[RosterChange] | None:
        """Wait, then change."""
        self._clock.advance(WAITED_MS)
        return await super().set_profiles(account, device, profiles, now_ms)


async def test_a_ticket_issued_while_the_whitelist_waited_is_void(tablets: SignedIn) -> None:
    """However long the change took, tickets made from the whitelist before it are void, here and on every relay."""
    registry, store = tablets.registry, HeldUp(tablets.registry)
    devices = Devices(store, registry.stores.accounts, registry.stores.profiles, registry.bus, clock=registry.clock)
    issued_ms = registry.clock() + WAITED_MS
    await devices.set_profiles(tablets.actor, alice_phone.id, [alice.jobb.id])
    table = Revocations()
    for revocation in await store.revocations(0):
        table.note(revocation)
    assert table.find(alice_phone.id, issued_ms) is not None
    (told,) = registry.bus.published
    assert isinstance(told, TicketsRevoked)
    assert told.not_before_ms >= issued_ms


async def test_refusal_profile_not_allowed_on_a_changed_whitelist(tablets: SignedIn) -> None:
    """The list of a device cannot be widened to somebody else's profile."""
    refused = await tablets.registry.devices.set_profiles(tablets.actor, alice_phone.id, [mallory.profile])
    assert code_of(refused) is RefusalCode.PROFILE_NOT_ALLOWED
    assert tablets.registry.bus.published == []


async def test_refusal_not_found_for_the_device_of_another(tablets: SignedIn) -> None:
    """Nobody changes or revokes somebody else's device, or learns that there is one."""
    devices, actor = tablets.registry.devices, tablets.actor
    for device in (bob_phone.id, tablet.id):
        assert code_of(await devices.set_profiles(actor, device, [alice.profile])) is RefusalCode.NOT_FOUND
        assert code_of(await devices.revoke(actor, device)) is RefusalCode.NOT_FOUND
    assert tablets.registry.bus.published == []


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
    "of the certificate": alice_phone.model.signature,
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
    await tablets.registry.devices.revoke(tablets.actor, alice_laptop.id)
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
    devices = Devices(store, registry.stores.accounts, registry.stores.profiles, registry.bus, clock=registry.clock)
    refused = await devices.adopt(tablets.actor, alice_phone.id, proof(alice_phone))
    assert code_of(refused) is RefusalCode.NOT_FOUND
    assert await registry.sessions.authenticate(tablet.access_token) == tablets.actor


async def test_a_revoked_device_is_cut_first_and_leaves_every_roster(tablets: SignedIn) -> None:
    """The event that cuts the connection goes out before those that only say what to read again."""
    registry = tablets.registry
    conversation = await open_conversation(registry.stores, alice, bob)
    assert await registry.devices.revoke(alice_laptop.actor, alice_phone.id) is None
    roster = (await registry.stores.conversations.rosters([conversation]))[conversation]
    assert registry.bus.published == [
        TicketsRevoked(alice_phone.id, registry.clock(), final=True),
        DevicesChanged(conversation, roster.version),
    ]
    assert alice_phone.id not in roster.devices


async def test_a_revoked_device_has_no_session_any_more(tablets: SignedIn) -> None:
    """A thief with the device cannot use its tokens."""
    await tablets.registry.devices.revoke(alice_laptop.actor, alice_phone.id)
    assert (
        code_of(await tablets.registry.sessions.authenticate(alice_phone.access_token)) is RefusalCode.UNAUTHENTICATED
    )
    refreshed = await tablets.registry.sessions.refresh(alice_phone.refresh_token)
    assert code_of(refreshed) is RefusalCode.UNAUTHENTICATED


async def test_revoking_twice_is_refused_and_announces_nothing(tablets: SignedIn) -> None:
    """What is gone is gone."""
    await tablets.registry.devices.revoke(tablets.actor, alice_phone.id)
    told = list(tablets.registry.bus.published)
    assert code_of(await tablets.registry.devices.revoke(tablets.actor, alice_phone.id)) is RefusalCode.NOT_FOUND
    assert tablets.registry.bus.published == told


async def test_refusal_no_device_for_a_session_without_one(tablets: SignedIn) -> None:
    """What only a device may do needs one; a device that was revoked meanwhile is none."""
    assert code_of(await tablets.registry.devices.find_own(tablets.actor)) is RefusalCode.NO_DEVICE
    assert await tablets.registry.devices.find_own(alice_phone.actor) == alice_phone.model
    await tablets.registry.devices.revoke(tablets.actor, alice_phone.id)
    assert code_of(await tablets.registry.devices.find_own(alice_phone.actor)) is RefusalCode.NO_DEVICE
