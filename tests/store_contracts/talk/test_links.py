"""The contract of the link store, and what a used link does to whom one may ask."""

import trio
from msgspec.structs import replace

from domain.ports import Stores
from domain.talk.model import Link
from tests.cast import Person, alice, bob, bob_phone, carol, dave, mallory, settle
from tests.ids import id_of
from tests.store_contracts.talk.test_consent import ask
from varde_contract.ids import ConversationId, LinkId, ProfileId

NOW_MS = 1_767_225_600_000
HOUR = 3_600_000


def link(number: int, owner: Person = bob, *, uses: int = 1, ends_ms: int = NOW_MS + HOUR) -> Link:
    """A link to somebody's private mode."""
    digest = bytes([number]) * 32
    return Link(owner.account, LinkId(id_of(number)), owner.profile, digest, uses, ends_ms, NOW_MS + number)


async def use(stores: Stores, made: Link, by: Person, now_ms: int = NOW_MS) -> bool:
    """Let somebody use a link."""
    return await stores.links.use(made.account, made.id, by.account, now_ms)


async def test_a_link_is_kept_as_it_was_made_first(stores: Stores) -> None:
    """Under its account and id; the same id again changes nothing, and another account's is another link."""
    await settle(stores, alice, bob)
    made = link(1, uses=2)
    assert await stores.links.add(made, NOW_MS, 10) == made
    assert await use(stores, made, alice)
    assert await stores.links.add(link(1, uses=9), NOW_MS, 10) == replace(made, uses=1)
    assert await stores.links.add(link(1, alice), NOW_MS, 10) == link(1, alice)
    assert await stores.links.list_of(bob.account, bob.profile) == [replace(made, uses=1)]
    assert await stores.links.list_of(bob.account, bob.jobb.id) == []


async def test_links_of_an_account_are_bounded(stores: Stores) -> None:
    """Those that have ended do not count; the same one again does not, either."""
    await settle(stores, bob)
    assert await stores.links.add(link(1, ends_ms=NOW_MS), NOW_MS, 2)
    assert await stores.links.add(link(2), NOW_MS, 2)
    assert await stores.links.add(link(3), NOW_MS, 2)
    assert await stores.links.add(link(4), NOW_MS, 2) is None
    assert await stores.links.add(link(3), NOW_MS, 2)
    await stores.links.remove(bob.account, link(2).id)
    assert await stores.links.add(link(4), NOW_MS, 2)
    assert [each.id for each in await stores.links.list_live(bob.account, NOW_MS)] == [link(4).id, link(3).id]


async def test_a_link_is_used_so_often_and_so_long(stores: Stores) -> None:
    """By each account once; one that has used it has, when nothing is left as well; nobody after its end."""
    await settle(stores, bob)
    made = link(1, uses=2)
    await stores.links.add(made, NOW_MS, 10)
    assert [await use(stores, made, each) for each in (alice, alice, carol, dave, alice)] == [True] * 3 + [False, True]
    assert await stores.links.list_live(bob.account, NOW_MS) == []
    assert not await use(stores, made, alice, made.expires_ms)
    assert not await use(stores, link(2), alice)
    await stores.links.remove(bob.account, made.id)
    assert not await use(stores, made, alice)


async def test_of_two_at_once_one_gets_the_last_use(nodes: tuple[Stores, Stores]) -> None:
    """However many ask at however many processes."""
    await settle(nodes[0], bob)
    made, got = link(1, uses=3), []
    await nodes[0].links.add(made, NOW_MS, 10)

    async def take(stores: Stores, number: int) -> None:
        got.append(await stores.links.use(made.account, made.id, ProfileId(id_of(100 + number)), NOW_MS))  # type: ignore[arg-type]

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(take, nodes[number % 2], number)
    assert sum(got) == 3


async def test_who_used_a_link_may_ask_until_it_ends(stores: Stores) -> None:
    """The profile it leads to and no other, and not after it was revoked."""
    await settle(stores, alice, bob)
    made = link(1)

    async def linked(profile: ProfileId, now_ms: int = NOW_MS) -> bool:
        return (await stores.consent.reach(alice.account, [profile], now_ms))[profile].linked

    await stores.links.add(made, NOW_MS, 10)
    assert not await linked(bob.profile)
    await use(stores, made, alice)
    assert await linked(bob.profile)
    assert not await linked(bob.jobb.id)
    assert not await linked(bob.profile, made.expires_ms)
    await stores.links.remove(bob.account, made.id)
    assert not await linked(bob.profile)


async def test_who_came_by_a_link_is_not_lost_among_strangers(stores: Stores) -> None:
    """The newest request of each is shown beside the strangers', however many those are, and no more than that."""
    await settle(stores, alice, bob, carol, mallory)
    await stores.links.add(link(1), NOW_MS, 10)
    await use(stores, link(1), carol)
    by_link = [await ask(stores, carol, bob, number) for number in (1, 2)]
    often = [await ask(stores, mallory, bob, number) for number in range(3, 8)]

    async def shown(most: int) -> list[ConversationId]:
        return [each.conversation for each in await stores.conversations.invitations(bob_phone.id, most)]

    assert await shown(1) == [often[-1], by_link[1]]
    assert await shown(3) == [*often[:2:-1], by_link[1], by_link[0]]
    await stores.links.remove(bob.account, link(1).id)
    assert await shown(1) == [often[-1]]
