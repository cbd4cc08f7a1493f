"""The contract of device lists in the store: kept for ever, one after the other, and shown to those who need them."""

from dataclasses import replace as replace_fields

import trio
from msgspec.structs import replace

from domain.people import model as people
from domain.people.ports import ListFault
from domain.ports import Stores
from tests.cast import (
    BIRTH_MS,
    FAR_MS,
    MANY,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_laptop,
    bob_phone,
    carol,
    carol_phone,
    change_devices,
    mallory,
    mallory_phone,
    next_change,
    open_conversation,
    put_member,
    remove_member,
    revoke,
    set_profiles,
    set_valid_until,
    settle,
)
from tests.store_contracts.messages import draft, page_of, send
from varde_contract.device_list import decode_list, decode_signed_list, judge
from varde_contract.ids import ConversationId

TABLET = alice.further_device("tablet")
RETENTION_MS = 1_000


async def test_every_list_is_kept_and_follows_the_one_before(stores: Stores) -> None:
    """The whole history is there, and anybody can judge it; the account names the newest."""
    await settle(stores, alice)
    await revoke(stores, alice.account, alice_phone.id, BIRTH_MS)
    await stores.retention.sweep(BIRTH_MS + 9 * RETENTION_MS, retention_ms=RETENTION_MS, limit=MANY)
    kept = await stores.devices.lists(alice.account, 1, MANY)
    assert [each.number for each in kept] == [1, 2, 3]
    before = None
    for each in kept:
        before = judge(before, decode_signed_list(each.signed))
    assert await stores.devices.newest_list(alice.account) == kept[-1]
    account = await stores.accounts.find(alice.account)
    assert account is not None
    assert account.list_number == 3
    assert [await stores.devices.kept_list(alice.account, before) for before in (0, FAR_MS)] == [0, 3]


async def test_lists_are_read_in_pages(stores: Stores) -> None:
    """From a number on, so many at most."""
    await settle(stores, alice, mallory)
    await revoke(stores, alice.account, alice_phone.id, BIRTH_MS)
    assert [each.number for each in await stores.devices.lists(alice.account, 2, 1)] == [2]
    assert await stores.devices.lists(alice.account, 4, 9) == []
    assert [each.account for each in await stores.devices.lists(mallory.account, 1, 9)] == [mallory.account]


async def test_a_list_that_comes_second_is_stale(stores: Stores) -> None:
    """What was judged against a list that is no longer the newest changes nothing."""
    await settle(stores, alice)
    late = await next_change(stores, alice.account, add=[TABLET])
    await revoke(stores, alice.account, alice_phone.id, BIRTH_MS)
    assert await stores.devices.apply(late) is ListFault.STALE
    assert await stores.devices.find(alice.account, TABLET.id) is None
    assert len(await stores.devices.lists(alice.account, 1, MANY)) == 3


async def test_of_two_lists_at_once_one_holds(nodes: tuple[Stores, Stores]) -> None:
    """However many devices sign the next list at the same moment."""
    await settle(nodes[0], alice)
    change = await next_change(nodes[0], alice.account, revoke=[alice_phone.id])
    answers = []

    async def apply(stores: Stores) -> None:
        answers.append(await stores.devices.apply(change))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(apply, nodes[number % 2])
    assert answers.count(ListFault.STALE) == 5
    assert len(await nodes[0].devices.lists(alice.account, 1, MANY)) == 3


async def test_a_refused_list_leaves_nothing(stores: Stores) -> None:
    """A device id that was used before undoes the whole change: devices, list and log entry."""
    await settle(stores, alice, mallory)
    await revoke(stores, alice.account, alice_phone.id, BIRTH_MS)
    stolen = replace_fields(mallory.further_device("stolen"), model=replace(mallory_phone.model, id=alice_laptop.id))
    for account, device in ((alice.account, alice_phone), (mallory.account, stolen)):
        change = await next_change(stores, account, revoke=[alice_laptop.id], add=[device])
        assert await stores.devices.apply(change) is ListFault.DEVICE_EXISTS
        assert (await stores.devices.newest_list(account)) != change.stored
    assert await stores.devices.find(alice.account, alice_laptop.id) == alice_laptop.model
    assert await change_devices(stores, alice.account, add=[TABLET]) == []


async def test_a_list_without_other_profiles_moves_no_roster(stores: Stores) -> None:
    """Finding 5: a whitelist that stays as it is moves nothing and voids nothing."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    assert await set_profiles(stores, alice.account, alice_phone.id, alice_phone.model.profiles, BIRTH_MS) == []
    assert (await stores.conversations.rosters([talk]))[talk].version == 1
    assert await stores.devices.revocations(0) == []


async def test_a_new_root_key_moves_every_roster_of_the_account(stores: Stores) -> None:
    """Everybody who writes to the account is told, whichever of its profiles they know."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    other = await open_conversation(stores, bob)
    change = await next_change(stores, alice.account)
    change = people.ListChange(
        change.stored, change.added, change.changed, change.revoked, change.voided, True, change.now_ms
    )
    assert await stores.devices.apply(change) == [people.RosterChange(talk, 2)]
    assert (await stores.conversations.rosters([other]))[other].version == 1


async def test_a_device_whose_time_is_over_leaves_the_rosters(stores: Stores) -> None:
    """With its position and its tickets, and nothing else; a later list lets it come back at the head."""
    await settle(stores, alice, bob)
    talk = await open_conversation(stores, alice, bob)
    await set_valid_until(stores, alice.account, alice_phone.id, BIRTH_MS + 10)
    assert await stores.devices.expire(BIRTH_MS + 9, 9) == people.Expired((), ())
    moved = people.RosterChange(talk, 2)
    assert await stores.devices.expire(BIRTH_MS + 10, 9) == people.Expired((alice_phone.id,), (moved,))
    assert await stores.devices.expire(BIRTH_MS + 11, 9) == people.Expired((), ())
    roster = (await stores.conversations.rosters([talk]))[talk]
    assert roster.devices.keys() == {alice_laptop.id, bob_phone.id, bob_laptop.id}
    assert [(each.device, each.final) for each in await stores.devices.revocations(BIRTH_MS + 10)] == [
        (alice_phone.id, False)
    ]
    await send(stores, draft(bob_phone, talk, version=2))
    await set_valid_until(stores, alice.account, alice_phone.id, None)
    page = await page_of(stores, alice_phone, talk)
    assert (page.start, page.upto) == (2, 1)


async def talk_of_two(stores: Stores) -> ConversationId:
    """Alice's phone has written to Bob."""
    await settle(stores, alice, bob, carol)
    talk = await open_conversation(stores, alice, bob)
    await send(stores, draft(alice_phone, talk))
    return talk


async def test_members_read_each_others_lists_and_strangers_none(stores: Stores) -> None:
    """The log names accounts and numbers to everybody: without this, anybody could watch anybody's devices."""
    await talk_of_two(stores)
    assert await stores.devices.may_read_lists(bob.account, bob_phone.id, alice.account)
    assert await stores.devices.may_read_lists(bob.account, None, alice.account)
    assert not await stores.devices.may_read_lists(carol.account, carol_phone.id, alice.account)
    assert not await stores.devices.may_read_lists(alice.account, alice_phone.id, carol.account)


async def test_who_left_is_read_of_by_those_who_can_have_their_message(stores: Stores) -> None:
    """For as long as it is in the log, and by no device that came after it."""
    talk = await talk_of_two(stores)
    await put_member(stores, talk, carol)
    await remove_member(stores, talk, alice)
    await revoke(stores, alice.account, alice_phone.id, BIRTH_MS)
    for reader in (bob_phone, bob_laptop):
        assert await stores.devices.may_read_lists(bob.account, reader.id, alice.account)
    assert not await stores.devices.may_read_lists(carol.account, carol_phone.id, alice.account)
    await stores.retention.sweep(BIRTH_MS + 2 * RETENTION_MS, retention_ms=RETENTION_MS, limit=MANY)
    assert not await stores.devices.may_read_lists(bob.account, bob_phone.id, alice.account)


async def test_what_stands_in_a_list_is_what_the_server_acts_on(stores: Stores) -> None:
    """The devices of the newest list are the account's devices."""
    await settle(stores, alice)
    newest = await stores.devices.newest_list(alice.account)
    assert newest is not None
    listed = decode_list(decode_signed_list(newest.signed).statement)
    assert {each.device for each in listed.devices} == {d.id for d in await stores.devices.list_all(alice.account)}
