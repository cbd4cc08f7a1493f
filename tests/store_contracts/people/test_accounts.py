"""The contract of the accounts, sign-in, session and profile stores."""

import secrets

import trio
from msgspec.structs import replace

from domain.people import model as people
from domain.ports import Stores
from tests.cast import BIRTH_MS, FAR_MS, MANY, alice, alice_phone, bob, settle
from tests.ids import id_of
from varde_contract.ids import AccountId, ProfileId, SessionId
from varde_contract.people import Notifications, Policies, ProfileType, Theme, WorkingHours

CODE = people.OneTimeCode(code_digest=b"c" * 32, expires_ms=BIRTH_MS + 1000, attempts_left=2)
SALT = bytes(range(32))
ADDRESS = b"a" * 32
WINDOW_MS = 1000
"""In which tests of limits count."""


async def put(stores: Stores, now_ms: int, code: people.OneTimeCode = CODE) -> bool:
    """Put a code of which three are allowed in a window."""
    return await stores.sign_in.put_code(ADDRESS, code, now_ms=now_ms, window_ms=WINDOW_MS, most=3)


async def test_an_address_has_one_account(stores: Stores) -> None:
    """The first sign-in of an address makes its account, every later one finds it."""
    made, was_made = await stores.sign_in.account_of(ADDRESS, alice.account, BIRTH_MS)
    found, was_made_again = await stores.sign_in.account_of(ADDRESS, bob.account, BIRTH_MS + 1)
    assert made == found == people.Account(alice.account, BIRTH_MS, 0)
    assert (was_made, was_made_again) == (True, False)
    assert await stores.accounts.find(alice.account) == made
    assert await stores.accounts.find(bob.account) is None


async def test_an_account_keeps_up_with_its_addresses_digest(stores: Stores) -> None:
    """Found under another digest of the same address, it is under the one that was asked for from then on."""
    other, third, next_one = b"o" * 32, b"t" * 32, AccountId(id_of(9))
    await stores.sign_in.account_of(other, alice.account, BIRTH_MS)
    for known_as in ([third, other], [], [third, other]):
        found, was_made = await stores.sign_in.account_of(ADDRESS, bob.account, BIRTH_MS, known_as=known_as)
        assert (found.id, was_made) == (alice.account, False)
    assert (await stores.sign_in.account_of(other, next_one, BIRTH_MS))[1]


async def test_an_account_moves_once_for_many_at_once(nodes: tuple[Stores, Stores]) -> None:
    """Two who sign in at once under the next digest find the one account."""
    other, found = b"o" * 32, []
    await nodes[0].sign_in.account_of(other, alice.account, BIRTH_MS)

    async def sign_in(stores: Stores) -> None:
        fresh = AccountId(id_of(secrets.randbits(60)))
        found.append(await stores.sign_in.account_of(ADDRESS, fresh, BIRTH_MS, known_as=[other]))

    async with trio.open_nursery() as nursery:
        for stores in nodes * 4:
            nursery.start_soon(sign_in, stores)
    assert {(account.id, made) for account, made in found} == {(alice.account, False)}


async def test_an_address_has_one_account_even_for_two_at_once(nodes: tuple[Stores, Stores]) -> None:
    """Two first sign-ins at once make one account, and one of them says so."""
    answers = []

    async def sign_in(stores: Stores, fresh: AccountId) -> None:
        answers.append(await stores.sign_in.account_of(ADDRESS, fresh, BIRTH_MS))

    async with trio.open_nursery() as nursery:
        for stores in nodes * 4:
            nursery.start_soon(sign_in, stores, AccountId(id_of(secrets.randbits(60))))
    assert len({account.id for account, _ in answers}) == 1
    assert [made for _, made in answers].count(True) == 1


async def test_attempts_count_down(stores: Stores) -> None:
    """Each attempt answers the code as it was before, down to none left; there it stays."""
    assert await stores.sign_in.take_attempt(ADDRESS) is None
    await put(stores, BIRTH_MS)
    answers = [await stores.sign_in.take_attempt(ADDRESS) for _ in range(4)]
    assert answers == [replace(CODE, attempts_left=left) for left in (2, 1, 0, 0)]


async def test_attempts_count_down_for_many_at_once(nodes: tuple[Stores, Stores]) -> None:
    """However many try at once, no more attempts are left to them than the code had."""
    await put(nodes[0], BIRTH_MS, replace(CODE, attempts_left=3))
    left = []

    async def attempt(stores: Stores) -> None:
        code = await stores.sign_in.take_attempt(ADDRESS)
        assert code is not None
        left.append(code.attempts_left)

    async with trio.open_nursery() as nursery:
        for stores in nodes * 4:
            nursery.start_soon(attempt, stores)
    assert sorted(left) == [0, 0, 0, 0, 0, 1, 2, 3]


async def test_a_new_code_replaces_the_old(stores: Stores) -> None:
    """Of two codes only the second one is known, with all its attempts."""
    await put(stores, BIRTH_MS)
    await stores.sign_in.take_attempt(ADDRESS)
    fresh = people.OneTimeCode(b"d" * 32, BIRTH_MS + 5000, 5)
    assert await put(stores, BIRTH_MS + 1, fresh)
    assert not await stores.sign_in.consume_code(ADDRESS, CODE.code_digest)
    assert await stores.sign_in.take_attempt(ADDRESS) == fresh


async def test_codes_are_limited_within_a_window(stores: Stores) -> None:
    """A fourth code within the window is refused and replaces nothing; when the first one has aged it is allowed."""
    times = (BIRTH_MS, BIRTH_MS + 10, BIRTH_MS + 20, BIRTH_MS + 30, BIRTH_MS + WINDOW_MS, BIRTH_MS + WINDOW_MS + 5)
    codes = [replace(CODE, expires_ms=time + 1000) for time in times]
    assert [await put(stores, *each) for each in zip(times, codes, strict=True)] == [
        True,
        True,
        True,
        False,
        True,
        False,
    ]
    assert await stores.sign_in.take_attempt(ADDRESS) == codes[4]


async def test_a_code_is_consumed_once(nodes: tuple[Stores, Stores]) -> None:
    """Of several who present the right code at once, one gets in."""
    await put(nodes[0], BIRTH_MS)
    answers = []

    async def consume(stores: Stores) -> None:
        answers.append(await stores.sign_in.consume_code(ADDRESS, CODE.code_digest))

    async with trio.open_nursery() as nursery:
        for stores in nodes * 3:
            nursery.start_soon(consume, stores)
    assert answers.count(True) == 1
    assert await nodes[0].sign_in.take_attempt(ADDRESS) is None


async def test_a_session_is_found_by_its_account_only(stores: Stores) -> None:
    """A session is found with the account it belongs to, and with no other."""
    await settle(stores, alice, bob)
    found = await stores.sessions.find(alice.account, alice_phone.session.id)
    assert found == replace(alice_phone.session, device=alice_phone.id)
    assert await stores.sessions.find(bob.account, alice_phone.session.id) is None


async def test_a_session_rotates_once_for_each_refresh_digest(stores: Stores) -> None:
    """Rotating replaces digests and times where the old digest still holds, and leaves the device alone."""
    await settle(stores, alice)
    old = alice_phone.session
    fresh = replace(
        old,
        access_digest=b"1" * 32,
        refresh_digest=b"2" * 32,
        refreshed_ms=BIRTH_MS + 7,
        access_expires_ms=9,
        parent_digest=old.refresh_digest,
        spent_digests=(b"3" * 32,),
    )
    assert await stores.sessions.rotate(fresh, old_refresh_digest=old.refresh_digest)
    assert not await stores.sessions.rotate(fresh, old_refresh_digest=old.refresh_digest)
    assert await stores.sessions.find(alice.account, old.id) == replace(fresh, device=alice_phone.id)


async def test_tokens_are_marked_as_used_once_they_are_the_present_ones(stores: Stores) -> None:
    """The mark of tokens that were replaced meanwhile is none, and nobody else's session is touched."""
    await settle(stores, alice)
    old = alice_phone.session
    fresh = replace(old, access_digest=b"1" * 32, refresh_digest=b"2" * 32, used=False)
    assert await stores.sessions.rotate(fresh, old_refresh_digest=old.refresh_digest)
    await stores.sessions.mark_used(alice.account, old.id, old.access_digest)
    await stores.sessions.mark_used(bob.account, old.id, fresh.access_digest)
    assert await stores.sessions.find(alice.account, old.id) == replace(fresh, device=alice_phone.id)
    await stores.sessions.mark_used(alice.account, old.id, fresh.access_digest)
    assert await stores.sessions.find(alice.account, old.id) == replace(fresh, device=alice_phone.id, used=True)


async def test_a_session_ends(stores: Stores) -> None:
    """An ended session is gone, and can neither be ended nor rotated again."""
    await settle(stores, alice)
    session = alice_phone.session
    assert await stores.sessions.end(alice.account, session.id)
    assert not await stores.sessions.end(alice.account, session.id)
    assert not await stores.sessions.rotate(session, old_refresh_digest=session.refresh_digest)
    assert await stores.sessions.find(alice.account, session.id) is None


async def test_live_sessions_are_listed_oldest_first(stores: Stores) -> None:
    """The list holds the sessions whose refresh token is still good, oldest first."""
    await stores.sign_in.account_of(ADDRESS, alice.account, BIRTH_MS)
    ages = {
        created: replace(alice_phone.session, id=SessionId(id_of(created)), created_ms=created) for created in (3, 1)
    }
    dead = replace(alice_phone.session, id=SessionId(id_of(2)), created_ms=2, refresh_expires_ms=50)
    for session in (*ages.values(), dead):
        await stores.sessions.add(session)
    assert await stores.sessions.list_live(alice.account, 50) == [ages[1], ages[3]]
    assert await stores.sessions.list_live(alice.account, 49) == [ages[1], dead, ages[3]]
    assert await stores.sessions.list_live(bob.account, FAR_MS - 1) == []


async def test_a_profile_is_found_by_its_account_only(stores: Stores) -> None:
    """A profile is found with the account it belongs to, and with no other."""
    await settle(stores, alice, bob)
    assert await stores.profiles.find(alice.account, alice.jobb.id) == alice.jobb
    assert await stores.profiles.find(bob.account, alice.jobb.id) is None
    assert sorted(profile.id for profile in await stores.profiles.list_all(alice.account)) == sorted(
        (alice.privat.id, alice.jobb.id)
    )


async def test_an_account_has_so_many_profiles_at_most(nodes: tuple[Stores, Stores]) -> None:
    """However many are added at once, an account gets no more profiles than it may have."""
    await nodes[0].sign_in.account_of(ADDRESS, alice.account, BIRTH_MS)
    answers = []

    async def add(stores: Stores, number: int) -> None:
        profile = replace(alice.privat, id=ProfileId(id_of(number)))
        answers.append(await stores.profiles.add(profile, 3))

    async with trio.open_nursery() as nursery:
        for number, stores in enumerate(nodes * 4):
            nursery.start_soon(add, stores, number)
    assert answers.count(True) == len(await nodes[0].profiles.list_all(alice.account)) == 3


async def test_what_can_change_of_a_profile_is_replaced(stores: Stores) -> None:
    """Theme and policies are replaced whole and come back as they were given, time zone and all."""
    await settle(stores, alice, bob)
    policies = Policies(
        notifications=Notifications.WORKING_HOURS,
        working_hours=WorkingHours(480, 960, "America/Argentina/Buenos_Aires"),
        read_receipts=False,
        presence=False,
    )
    changed = replace(alice.jobb, theme=Theme.DARK, policies=policies)
    assert await stores.profiles.replace(alice.account, alice.jobb.id, Theme.DARK, policies) == changed
    assert await stores.profiles.find(alice.account, alice.jobb.id) == changed
    assert await stores.profiles.replace(bob.account, alice.jobb.id, Theme.LIGHT, Policies()) is None
    assert await stores.profiles.find(alice.account, alice.jobb.id) == changed


async def test_owners_are_found_by_profile(stores: Stores) -> None:
    """Whose profiles they are is found for several at once; unknown ones are left out."""
    await settle(stores, alice, bob)
    unknown = ProfileId(id_of(1))
    owners = await stores.profiles.owners([alice.jobb.id, bob.privat.id, unknown])
    assert owners == {
        alice.jobb.id: people.Account(alice.account, BIRTH_MS, 2),
        bob.privat.id: people.Account(bob.account, BIRTH_MS, 2),
    }


async def test_profiles_are_listed_oldest_first(stores: Stores) -> None:
    """The list is in the order of making."""
    await stores.sign_in.account_of(ADDRESS, alice.account, BIRTH_MS)
    made = [
        people.Profile(alice.account, ProfileId(id_of(9 - age)), ProfileType.JOBB, Theme.LIGHT, Policies(), age, SALT)
        for age in (2, 1, 3)
    ]
    for profile in made:
        assert await stores.profiles.add(profile, MANY)
    assert await stores.profiles.list_all(alice.account) == [made[1], made[0], made[2]]


async def test_an_account_that_was_lost_is_known_again(stores: Stores) -> None:
    """With its profiles, and without an address. What is known stays as it is."""
    lost = replace(alice.privat, policies=replace(alice.privat.policies, typing=False))
    await stores.accounts.put_back(alice.account, [lost])
    await stores.accounts.put_back(alice.account, [alice.privat])
    assert await stores.accounts.find(alice.account) == people.Account(alice.account, lost.created_ms, 0)
    assert await stores.profiles.list_all(alice.account) == [lost]
    assert (await stores.profiles.owners([lost.id])).keys() == {lost.id}
