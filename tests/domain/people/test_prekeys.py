"""Prekeys: signed by their device, claimed only by those who may write to it, and never used up by strangers."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from domain.people.events import KeysLow
from domain.people.model import Actor
from domain.people.prekeys import CLAIM_WINDOW, CLAIMS_PER_ACCOUNT, KEYS_LOW, Claimed, KeyCount
from tests.cast import (
    ONE_TIME_KEYS,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_phone,
    carol_phone,
    mallory_phone,
    open_conversation,
)
from tests.domain.registry import Registry, code_of
from tests.ids import id_of
from varde_contract.ids import ConversationId, DeviceId
from varde_contract.limits import ONE_TIME_KEYS_PER_DEVICE
from varde_contract.refusals import RefusalCode, Refused, StaleDevices
from varde_contract.signed_statements import KEM_KEY_BYTES

NO_CONVERSATION = ConversationId(id_of(7))
NO_DEVICE = Actor(alice.account, alice_phone.session.id, None)


@pytest.fixture
async def registry() -> Registry:
    """A server that knows the cast, each device with five one-time keys and a fallback key."""
    made = Registry()
    await made.settle()
    return made


@pytest.fixture
async def shared(registry: Registry) -> ConversationId:
    """A conversation of Alice and Bob."""
    return await open_conversation(registry.stores, alice, bob)


async def claimed(registry: Registry, conversation: ConversationId, devices: Sequence[DeviceId]) -> Claimed:
    """Claim as Alice's phone, successfully."""
    outcome = await registry.prekeys.claim(alice_phone.actor, conversation, devices)
    assert isinstance(outcome, Claimed)
    return outcome


async def test_uploaded_keys_are_counted(registry: Registry) -> None:
    """A device knows how many keys it has left on the server."""
    uploaded = await registry.prekeys.upload(alice_phone.actor, alice_phone.one_time_keys(3, start=10), None)
    assert uploaded == KeyCount(ONE_TIME_KEYS + 3, has_fallback=True)
    assert await registry.prekeys.count(alice_phone.actor) == uploaded


async def test_uploading_again_adds_nothing(registry: Registry) -> None:
    """A client that lost the answer sends the same keys again."""
    keys = alice_phone.one_time_keys(3, start=10)
    first = await registry.prekeys.upload(alice_phone.actor, keys, None)
    assert await registry.prekeys.upload(alice_phone.actor, keys, None) == first


async def test_refusal_bad_signature_for_a_prekey(registry: Registry) -> None:
    """A key of another device, or of another use, is refused, and with it the whole upload."""
    good, fallback = alice_phone.one_time_keys(1, start=10), alice_phone.fallback_key()
    other = bob_phone.one_time_keys(1, start=10)
    for one_time, last in (((*good, *other), None), ((fallback,), None), (good, good[0])):
        refused = await registry.prekeys.upload(alice_phone.actor, one_time, last)
        assert code_of(refused) is RefusalCode.BAD_SIGNATURE
    assert await registry.prekeys.count(alice_phone.actor) == KeyCount(ONE_TIME_KEYS, has_fallback=True)


async def test_refusal_bad_key_for_a_prekey(registry: Registry) -> None:
    """An all-zero key is refused before its signature is looked at."""
    zero = replace(alice_phone.one_time_keys(1)[0], key=bytes(32))
    assert code_of(await registry.prekeys.upload(alice_phone.actor, [zero], None)) is RefusalCode.BAD_KEY
    assert code_of(await registry.prekeys.upload(alice_phone.actor, [], zero)) is RefusalCode.BAD_KEY
    good = alice_phone.fallback_key()
    for kem_key in (bytes(KEM_KEY_BYTES), b"\xff" * 1_184 + good.kem_key[1_184:]):
        bad = replace(good, kem_key=kem_key)
        assert code_of(await registry.prekeys.upload(alice_phone.actor, [], bad)) is RefusalCode.BAD_KEY


async def test_the_prekey_at_fault_is_named(registry: Registry) -> None:
    """A client that uploads fifty keys is told which one is wrong, and what about it."""
    good, fallback = alice_phone.one_time_keys(3, start=10), alice_phone.fallback_key()
    stolen, zero = bob_phone.one_time_keys(1, start=10)[0], replace(good[1], key=bytes(32))
    no_kem = replace(good[1], kem_key=bytes(KEM_KEY_BYTES))
    for one_time, last, name in (
        ((good[0], zero, good[2]), None, "one_time_keys[1].key "),
        ((good[0], no_kem), None, "one_time_keys[1].kem_key "),
        ((*good, stolen), None, "one_time_keys[3].signature "),
        (good, replace(fallback, key=bytes(32)), "fallback_key.key "),
        (good, good[0], "fallback_key.signature "),
    ):
        refused = await registry.prekeys.upload(alice_phone.actor, one_time, last)
        assert isinstance(refused, Refused)
        assert refused.detail.startswith(name)


async def test_refusal_too_many_prekeys(registry: Registry) -> None:
    """A device has a hundred one-time keys at most, and what would be more is not stored in part."""
    keys = alice_phone.one_time_keys(ONE_TIME_KEYS_PER_DEVICE - ONE_TIME_KEYS + 1, start=10)
    assert code_of(await registry.prekeys.upload(alice_phone.actor, keys, None)) is RefusalCode.TOO_MANY
    assert await registry.prekeys.count(alice_phone.actor) == KeyCount(ONE_TIME_KEYS, has_fallback=True)


async def test_refusal_no_device_for_prekeys(registry: Registry, shared: ConversationId) -> None:
    """Prekeys are a device's; a session without one has none."""
    assert code_of(await registry.prekeys.count(NO_DEVICE)) is RefusalCode.NO_DEVICE
    assert code_of(await registry.prekeys.upload(NO_DEVICE, [], None)) is RefusalCode.NO_DEVICE
    assert code_of(await registry.prekeys.claim(NO_DEVICE, shared, [bob_phone.id])) is RefusalCode.NO_DEVICE


async def test_keys_are_claimed_first_in_first_out(registry: Registry, shared: ConversationId) -> None:
    """The oldest key goes first, and none goes twice."""
    taken = [(await claimed(registry, shared, [bob_phone.id])).keys[0].prekey for _ in range(ONE_TIME_KEYS)]
    assert tuple(taken) == bob_phone.one_time_keys()


async def test_the_fallback_key_comes_when_no_other_is_left(registry: Registry, shared: ConversationId) -> None:
    """A device that is away for long can still be written to."""
    for _ in range(ONE_TIME_KEYS):
        await claimed(registry, shared, [bob_phone.id])
    for _ in range(2):
        (last,) = (await claimed(registry, shared, [bob_phone.id])).keys
        assert (last.fallback, last.prekey) == (True, bob_phone.fallback_key())


async def test_a_device_without_any_key_is_named(registry: Registry, shared: ConversationId) -> None:
    """The claimer is told whom it cannot write to, and gets the other keys."""
    registry.memory.keys[bob_phone.id].one_time.clear()
    registry.memory.keys[bob_phone.id].fallback = None
    outcome = await claimed(registry, shared, [bob_phone.id, alice_laptop.id])
    assert outcome.without == (bob_phone.id,)
    assert [claim.device for claim in outcome.keys] == [alice_laptop.id]


async def test_a_device_named_twice_gives_one_key(registry: Registry, shared: ConversationId) -> None:
    """Naming a device twice does not use up two keys."""
    outcome = await claimed(registry, shared, [bob_phone.id, bob_phone.id])
    assert len(outcome.keys) == 1
    assert outcome.keys[0].left == ONE_TIME_KEYS - 1


async def test_keys_low_is_announced_when_few_are_left(registry: Registry, shared: ConversationId) -> None:
    """The device is told to make new ones while it still has some."""
    await registry.prekeys.upload(
        bob_phone.actor, bob_phone.one_time_keys(KEYS_LOW + 2 - ONE_TIME_KEYS, start=10), None
    )
    await claimed(registry, shared, [bob_phone.id])
    assert registry.bus.published == []
    await claimed(registry, shared, [bob_phone.id])
    assert registry.bus.published == [KeysLow(bob_phone.id, KEYS_LOW)]


async def test_refusal_not_found_for_keys_outside_a_conversation(registry: Registry, shared: ConversationId) -> None:
    """An outsider can neither use up keys nor learn that the conversation is there."""
    outside = await registry.prekeys.claim(mallory_phone.actor, shared, [bob_phone.id])
    assert outside == await registry.prekeys.claim(mallory_phone.actor, NO_CONVERSATION, [bob_phone.id])
    assert code_of(outside) is RefusalCode.NOT_FOUND
    assert await registry.prekeys.count(bob_phone.actor) == KeyCount(ONE_TIME_KEYS, has_fallback=True)


async def test_refusal_stale_devices_names_who_is_gone(registry: Registry, shared: ConversationId) -> None:
    """A member's key cannot be claimed through a conversation that the device does not belong to."""
    refused = await registry.prekeys.claim(alice_phone.actor, shared, [bob_phone.id, carol_phone.id])
    assert isinstance(refused, Refused)
    assert refused.code is RefusalCode.STALE_DEVICES
    assert refused.stale == StaleDevices(1, gone=(carol_phone.id,))
    assert await registry.prekeys.count(bob_phone.actor) == KeyCount(ONE_TIME_KEYS, has_fallback=True)


async def test_refusal_not_allowed_for_ones_own_keys(registry: Registry, shared: ConversationId) -> None:
    """A device does not use up its own keys."""
    refused = await registry.prekeys.claim(alice_phone.actor, shared, [alice_phone.id])
    assert code_of(refused) is RefusalCode.NOT_ALLOWED


async def test_refusal_claim_limit(registry: Registry, shared: ConversationId) -> None:
    """A member cannot use up another's keys: twenty claims an hour for an account, whatever the conversation."""
    other = await open_conversation(registry.stores, alice, bob, alice)
    for _ in range(CLAIMS_PER_ACCOUNT):
        await claimed(registry, shared, [bob_phone.id])
    for conversation in (shared, other):
        refused = await registry.prekeys.claim(alice_phone.actor, conversation, [alice_laptop.id, bob_phone.id])
        assert isinstance(refused, Refused)
        assert refused.code is RefusalCode.CLAIM_LIMIT
        assert refused.retry_after_ms == CLAIM_WINDOW
    assert await registry.prekeys.count(alice_laptop.actor) == KeyCount(ONE_TIME_KEYS, has_fallback=True)


async def test_the_claim_limit_is_of_one_account_and_one_hour(registry: Registry, shared: ConversationId) -> None:
    """An account drains no more with many devices than with one. It may claim again later."""
    for _ in range(CLAIMS_PER_ACCOUNT):
        await claimed(registry, shared, [bob_phone.id])
    refused = await registry.prekeys.claim(alice_laptop.actor, shared, [bob_phone.id])
    assert code_of(refused) is RefusalCode.CLAIM_LIMIT
    registry.clock.advance(CLAIM_WINDOW + 1)
    await claimed(registry, shared, [bob_phone.id])


async def test_a_claimed_key_is_checked_by_its_signature(registry: Registry, shared: ConversationId) -> None:
    """What is handed out is what the device signed: the server cannot slip in a key of its own unnoticed."""
    (key,) = (await claimed(registry, shared, [bob_phone.id])).keys
    forged = replace(key.prekey, key=alice_phone.model.identity_key)
    assert key.prekey in bob_phone.one_time_keys()
    assert code_of(await registry.prekeys.upload(bob_phone.actor, [forged], None)) is RefusalCode.BAD_SIGNATURE
