"""The contract of the user name store."""

import trio

from domain.people.ports import NameFault, UserName
from domain.ports import Stores
from tests.cast import Person, alice, bob, carol, settle

NOW_MS = 1_767_225_600_000
HELD_MS = 1_000


def name(word: str, owner: Person, *, skeleton: str | None = None) -> UserName:
    """A name by digests that are easy to see."""
    return UserName(owner.account, owner.profile, word.encode().ljust(32, b"."), (skeleton or word).encode().ljust(32))


async def put(
    stores: Stores, wanted: UserName, now_ms: int = NOW_MS, *, most: int = 10, known_as: tuple[bytes, ...] = ()
) -> NameFault | None:
    """Give a name."""
    return await stores.user_names.put(wanted, now_ms, held_ms=HELD_MS, most=most, known_as=known_as)


async def test_a_name_is_found_by_its_skeleton(stores: Stores) -> None:
    """With whose it is; nothing else is found."""
    await settle(stores, alice)
    assert await put(stores, name("ola", alice)) is None
    assert await stores.user_names.find(name("ola", alice).skeleton) == name("ola", alice)
    assert await stores.user_names.find(name("kari", alice).skeleton) is None
    assert await put(stores, name("ola", alice)) is None  # again changes nothing
    await stores.user_names.remove(alice.account, alice.jobb.id, NOW_MS)
    assert await stores.user_names.find(name("ola", alice).skeleton) is not None
    await stores.user_names.remove(alice.account, alice.profile, NOW_MS)
    assert await stores.user_names.find(name("ola", alice).skeleton) is None


async def test_names_that_look_alike_are_given_away_once(stores: Stores) -> None:
    """To whoever comes first; their owner may change from one to the other."""
    await settle(stores, alice, bob)
    first, alike = name("ola", alice), name("0la", bob, skeleton="ola")
    assert await put(stores, first) is None
    assert await put(stores, alike) is NameFault.TAKEN
    assert await stores.user_names.find(first.skeleton) == first
    own = name("0la", alice, skeleton="ola")
    assert await put(stores, own) is None
    assert await stores.user_names.find(first.skeleton) == own


async def test_a_name_that_was_given_up_is_held_for_a_while(stores: Stores) -> None:
    """For its account, which may have it back; afterwards it is anybody's. A profile has one name at a time."""
    await settle(stores, alice, bob)
    await put(stores, name("ola", alice))
    assert await put(stores, name("kari", alice)) is None
    assert await stores.user_names.find(name("ola", alice).skeleton) is None
    assert await put(stores, name("ola", bob), NOW_MS + HELD_MS - 1) is NameFault.TAKEN
    assert await put(stores, name("ola", bob), NOW_MS + HELD_MS) is None
    assert await put(stores, name("ola", alice), NOW_MS + HELD_MS) is NameFault.TAKEN
    assert await stores.user_names.find(name("kari", alice).skeleton) == name("kari", alice)


async def test_an_account_keeps_few_names_from_others(stores: Stores) -> None:
    """Those that are held count, until they are not; a refusal changes nothing."""
    await settle(stores, alice)
    for word in ("one", "two", "three"):
        assert await put(stores, name(word, alice), most=3) is None
    assert await put(stores, name("four", alice), most=3) is NameFault.TOO_MANY
    assert await stores.user_names.find(name("three", alice).skeleton) == name("three", alice)
    assert await put(stores, name("one", alice), most=3) is None
    assert await put(stores, name("four", alice), NOW_MS + HELD_MS, most=3) is None


async def test_a_name_follows_the_pepper(stores: Stores) -> None:
    """One that is known by another digest is nobody else's, and is moved to the new one."""
    await settle(stores, alice, bob)
    old, fresh = name("old", alice), name("new", alice)
    await put(stores, old)
    assert await put(stores, name("new", bob), known_as=(old.skeleton,)) is NameFault.TAKEN
    await stores.user_names.rename(old.skeleton, fresh)
    assert await stores.user_names.find(old.skeleton) is None
    assert await stores.user_names.find(fresh.skeleton) == fresh
    await put(stores, name("bobs", bob))
    await stores.user_names.rename(fresh.skeleton, name("bobs", alice))
    assert await stores.user_names.find(name("bobs", bob).skeleton) == name("bobs", bob)


async def test_of_two_at_once_one_gets_the_name(nodes: tuple[Stores, Stores]) -> None:
    """At two processes."""
    await settle(nodes[0], alice, bob, carol)
    answers = []

    async def take(stores: Stores, owner: Person) -> None:
        answers.append(await put(stores, name("ola", owner)))

    async with trio.open_nursery() as nursery:
        for stores, owner in zip((*nodes, nodes[0]), (alice, bob, carol), strict=True):
            nursery.start_soon(take, stores, owner)
    assert sorted(map(str, answers)) == ["NameFault.TAKEN", "NameFault.TAKEN", "None"]
