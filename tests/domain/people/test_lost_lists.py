"""Device lists that a restored store has lost: put back by whoever holds them, and judged as the first time."""

from domain.people.model import Account, StoredList
from simulation.stores.clock import HOUR
from tests.cast import CastDevice, alice, alice_phone, bob, bob_phone, enrol, mallory, revoke, salt_of
from tests.domain.registry import Registry, code_of
from varde_contract.ids import ProfileId
from varde_contract.people import FoundBy
from varde_contract.refusals import RefusalCode

TABLET = alice.further_device("tablet")
OPENINGS = {each.id: each.salt for each in (alice.privat, alice.jobb)}


async def signed_lists(*, further: CastDevice | None = None) -> list[bytes]:
    """Alice's lists, as another server has them that nothing was lost at."""
    whole = Registry()
    await whole.settle(alice)
    if further is not None:
        await enrol(whole.stores, further)
    return [each.signed for each in await whole.stores.devices.lists(alice.account, 1, 9)]


async def put_back(
    server: Registry, lists: list[bytes], openings: dict[ProfileId, bytes] | None = None
) -> StoredList | RefusalCode:
    """Put lists of Alice's back after a loss just now."""
    given = OPENINGS if openings is None else openings
    outcome = await server.device_lists.put_back(alice.account, lists, given, server.clock())
    return outcome if isinstance(outcome, StoredList) else code_of(outcome)


async def test_a_lost_list_is_put_back_by_anybody() -> None:
    """The device that it brought is there again, and what is there already is passed over."""
    server, lists = Registry(), await signed_lists(further=TABLET)
    await server.settle()
    assert len(lists) == 3
    for _ in range(2):
        outcome = await put_back(server, lists)
        assert isinstance(outcome, StoredList)
        assert (outcome.number, outcome.signed) == (3, lists[-1])
    device = await server.stores.devices.find(alice.account, TABLET.id)
    assert device is not None
    assert device.profiles == TABLET.model.profiles


async def test_an_account_that_is_lost_is_known_again() -> None:
    """With the profiles that are opened and no others; what its devices signed can be judged, and nobody finds it."""
    server, lists = Registry(), await signed_lists()
    await server.settle(bob)
    assert isinstance(await put_back(server, lists, {alice.profile: alice.privat.salt}), StoredList)
    assert await server.stores.accounts.find(alice.account) == Account(alice.account, server.clock(), 2)
    (profile,) = await server.stores.profiles.list_all(alice.account)
    assert (profile.id, profile.salt, profile.policies.found_by) == (
        alice.profile,
        salt_of(alice.profile),
        FoundBy.NOBODY,
    )
    phone = await server.stores.devices.find(alice.account, alice_phone.id)
    assert phone is not None
    assert phone.profiles == (alice.profile,)
    assert not await server.consent.may_find(bob_phone.actor, alice.profile)


async def test_another_list_of_the_same_number_is_a_fork() -> None:
    """What the account has signed since stays, and so does what it has when lists are missing in between."""
    server, lists = Registry(), await signed_lists(further=TABLET)
    await server.settle(alice)
    await revoke(server.stores, alice.account, alice_phone.id, server.clock())
    assert await put_back(server, lists) is RefusalCode.STALE_DEVICE_LIST
    empty = Registry()
    assert await put_back(empty, lists[1:]) is RefusalCode.STALE_DEVICE_LIST


async def test_what_was_never_there_is_refused() -> None:
    """What nobody signed, what is of another account, and what is of after the loss."""
    server, lists = Registry(), await signed_lists(further=TABLET)
    await server.settle(alice)
    bad = RefusalCode.BAD_DEVICE_LIST
    assert await put_back(server, [b"x"]) is bad
    assert await put_back(server, [lists[2][:-1] + bytes([lists[2][-1] ^ 1])]) is bad
    assert code_of(await server.device_lists.put_back(mallory.account, lists, {}, server.clock())) is bad
    long_ago = server.clock() - 48 * HOUR
    assert code_of(await server.device_lists.put_back(alice.account, lists, OPENINGS, long_ago)) is bad


async def test_a_list_needs_the_salts_of_profiles_that_are_lost() -> None:
    """Its devices would receive for less than it says, for ever: who has all of the salts comes later."""
    server, lists = Registry(), await signed_lists()
    await server.stores.sign_in.account_of(alice.address, alice.account, 0)
    assert await put_back(server, lists, {alice.profile: alice.privat.salt}) is RefusalCode.PROFILE_NOT_ALLOWED
    assert isinstance(await put_back(server, lists), StoredList)
