"""The contract of the prekey store."""

from collections.abc import Sequence

import trio

from domain.people import model as people
from domain.ports import Stores
from tests.cast import (
    BIRTH_MS,
    MANY,
    ONE_TIME_KEYS,
    CastDevice,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_laptop,
    bob_phone,
    carol_phone,
    dave_phone,
    mallory,
    mallory_phone,
    settle,
)

WINDOW_MS = 1000


async def claim(
    stores: Stores, claimer: CastDevice, *devices: CastDevice, now_ms: int = BIRTH_MS, most: int = MANY
) -> Sequence[people.ClaimedPrekey] | None:
    """Claim one key for each device."""
    wanted = [(device.model.account, device.id) for device in devices]
    return await stores.prekeys.claim(claimer.model.account, wanted, now_ms=now_ms, window_ms=WINDOW_MS, most=most)


async def upload(
    stores: Stores,
    device: CastDevice,
    *one_time: people.Prekey,
    fallback: people.Prekey | None = None,
    most: int = MANY,
) -> tuple[int, bool] | None:
    """Upload keys of a device."""
    return await stores.prekeys.upload(device.model.account, device.id, one_time, fallback, most=most)


async def test_keys_are_handed_out_first_in_first_out(stores: Stores) -> None:
    """One-time keys are claimed in the order of upload, each once, and what is left is counted."""
    await settle(stores, alice, bob)
    await upload(stores, alice_phone, *alice_phone.one_time_keys(2, start=ONE_TIME_KEYS))
    claimed = [await claim(stores, bob_phone, alice_phone) for _ in range(ONE_TIME_KEYS + 2)]
    expected = [
        [people.ClaimedPrekey(alice_phone.id, key, fallback=False, left=ONE_TIME_KEYS + 1 - number)]
        for number, key in enumerate(alice_phone.one_time_keys(ONE_TIME_KEYS + 2))
    ]
    assert claimed == expected


async def test_the_fallback_key_stands_in_again_and_again(stores: Stores) -> None:
    """When no one-time key is left the fallback key is handed out, any number of times; without one, nothing is."""
    await settle(stores, alice, bob)
    for _ in range(ONE_TIME_KEYS):
        await claim(stores, bob_phone, alice_phone)
    fallback = people.ClaimedPrekey(alice_phone.id, alice_phone.fallback_key(), fallback=True, left=0)
    for _ in range(2):
        assert await claim(stores, bob_phone, alice_phone, carol_phone) == [fallback]


async def test_a_new_fallback_key_replaces_the_old(stores: Stores) -> None:
    """There is one fallback key, the last one."""
    await settle(stores, alice, bob)
    (fresh,) = alice_phone.one_time_keys(1, start=50)
    for _ in range(ONE_TIME_KEYS):
        await claim(stores, bob_phone, alice_phone)
    assert await upload(stores, alice_phone, fallback=fresh) == (0, True)
    assert await claim(stores, bob_phone, alice_phone) == [
        people.ClaimedPrekey(alice_phone.id, fresh, fallback=True, left=0)
    ]


async def test_one_claim_takes_a_key_of_each_device(stores: Stores) -> None:
    """A claim for several devices answers in their order, and one named twice once."""
    await settle(stores, alice, bob)
    claimed = await claim(stores, bob_phone, alice_phone, alice_laptop, alice_phone)
    assert claimed is not None
    assert [key.device for key in claimed] == [alice_phone.id, alice_laptop.id]
    assert [key.left for key in claimed] == [ONE_TIME_KEYS - 1] * 2


async def test_a_device_is_known_with_its_account_only(stores: Stores) -> None:
    """Claims and counts under a wrong account find nothing, and uploads store nothing."""
    await settle(stores, alice, bob, mallory)
    wrong = [(mallory.account, alice_phone.id)]
    assert await stores.prekeys.claim(bob.account, wrong, now_ms=BIRTH_MS, window_ms=1, most=9) == []
    assert await stores.prekeys.count(mallory.account, alice_phone.id) == (0, False)
    keys = mallory_phone.one_time_keys()
    assert await stores.prekeys.upload(mallory.account, alice_phone.id, keys, keys[0], most=MANY) == (0, False)
    assert await stores.prekeys.count(alice.account, alice_phone.id) == (ONE_TIME_KEYS, True)


async def test_uploading_again_adds_nothing(stores: Stores) -> None:
    """A client that lost the answer says the same again: a key that is there, or was handed out, is not added."""
    await settle(stores, alice, bob)
    await claim(stores, bob_phone, alice_phone)
    keys = alice_phone.one_time_keys()
    assert await upload(stores, alice_phone, *keys, *keys) == (ONE_TIME_KEYS - 1, True)
    claimed = await claim(stores, bob_phone, alice_phone)
    assert claimed is not None
    assert claimed[0].prekey == keys[1]


async def test_too_many_keys_are_refused_whole(stores: Stores) -> None:
    """An upload that would lead to more keys than allowed stores none of them, nor its fallback; one that fits does."""
    await settle(stores, alice, bob)
    fresh = alice_phone.one_time_keys(3, start=ONE_TIME_KEYS)
    assert await upload(stores, alice_phone, *fresh, fallback=fresh[0], most=ONE_TIME_KEYS + 2) is None
    assert await stores.prekeys.count(alice.account, alice_phone.id) == (ONE_TIME_KEYS, True)
    for _ in range(ONE_TIME_KEYS):
        await claim(stores, bob_phone, alice_phone)
    claimed = await claim(stores, bob_phone, alice_phone)
    assert claimed is not None
    assert claimed[0].prekey == alice_phone.fallback_key()
    assert await upload(stores, alice_phone, *fresh, most=3) == (3, True)


async def test_claims_of_a_pair_are_limited_within_a_window(stores: Stores) -> None:
    """A third claim within the window takes nothing, of no device; another claimer, and a later time, may."""
    await settle(stores, alice, bob)
    for time in (BIRTH_MS, BIRTH_MS + 10):
        assert await claim(stores, bob_phone, alice_phone, now_ms=time, most=2)
    assert await claim(stores, bob_phone, alice_laptop, alice_phone, now_ms=BIRTH_MS + 20, most=2) is None
    assert await stores.prekeys.count(alice.account, alice_laptop.id) == (ONE_TIME_KEYS, True)
    assert await stores.prekeys.count(alice.account, alice_phone.id) == (ONE_TIME_KEYS - 2, True)
    assert await claim(stores, carol_phone, alice_phone, now_ms=BIRTH_MS + 20, most=2)
    assert await claim(stores, bob_phone, alice_phone, now_ms=BIRTH_MS + WINDOW_MS, most=2)
    assert await claim(stores, bob_phone, alice_phone, now_ms=BIRTH_MS + WINDOW_MS + 1, most=2) is None


async def test_asking_for_a_device_without_keys_counts(stores: Stores) -> None:
    """Whether there is a key cannot be asked without end."""
    await settle(stores, alice, bob)
    for _ in range(ONE_TIME_KEYS):
        await claim(stores, carol_phone, alice_phone)
    assert await claim(stores, bob_phone, alice_phone, most=1)
    assert await claim(stores, bob_phone, alice_phone, most=1) is None


async def test_no_key_is_handed_out_twice_however_many_claim_at_once(nodes: tuple[Stores, Stores]) -> None:
    """Many who claim of the same devices at once get different keys, and the fallback only when none is left."""
    await settle(nodes[0], alice, bob)
    keys = {device: set(device.one_time_keys(40)) for device in alice.devices}
    for device in alice.devices:
        await upload(nodes[0], device, *device.one_time_keys(40))
    claimed: list[people.ClaimedPrekey] = []

    async def take(stores: Stores, claimer: CastDevice, devices: Sequence[CastDevice]) -> None:
        for _ in range(10):
            claimed.extend(await claim(stores, claimer, *devices) or ())

    async with trio.open_nursery() as nursery:
        for number, claimer in enumerate((bob_phone, bob_laptop, carol_phone, dave_phone, mallory_phone)):
            nursery.start_soon(take, nodes[number % 2], claimer, alice.devices[:: 1 if number % 3 else -1])
    for device in alice.devices:
        mine = [each for each in claimed if each.device == device.id]
        one_time = [each.prekey for each in mine if not each.fallback]
        assert len(one_time) == 40
        assert set(one_time) == keys[device]
        assert {each.prekey for each in mine if each.fallback} == {device.fallback_key()}


async def test_the_limit_holds_for_many_claims_at_once(nodes: tuple[Stores, Stores]) -> None:
    """Of many claims of one pair at once, so many succeed as are allowed."""
    await settle(nodes[0], alice, bob)
    answers = []

    async def take(stores: Stores) -> None:
        answers.append(await claim(stores, bob_phone, alice_phone, alice_laptop, most=3))

    async with trio.open_nursery() as nursery:
        for stores in nodes * 4:
            nursery.start_soon(take, stores)
    assert answers.count(None) == 5
    assert await nodes[0].prekeys.count(alice.account, alice_phone.id) == (ONE_TIME_KEYS - 3, True)
