"""The contract of the consent store, and of the invitations that a device is shown."""

import hashlib

import pytest
from msgspec.structs import replace

from domain.ports import Stores
from domain.talk.model import Block, NewStatement, Reach
from domain.talk.ports import ChainChange, NewRoster
from tests.cast import Person, alice, bob, bob_phone, carol, dave, mallory, open_conversation, settle
from tests.ids import id_of
from varde_contract.ids import ClientId, ConversationId, MessageId, ProfileId
from varde_contract.membership import Member
from varde_contract.people import FoundBy, Theme
from varde_contract.talk import ConversationKind, Role

NOW_MS = 1_767_225_600_000


def statement(by: Person, number: int, at_ms: int, key: int, invited: Person | None = None) -> NewStatement:
    """A statement of somebody, as far as a store looks into it."""
    digest = hashlib.sha256(f"{key} {number}".encode()).digest()
    return NewStatement(
        signed=digest,
        number=number,
        hash=digest,
        state=None,
        account=by.account,
        signer=by.profile,
        invited=None if invited is None else invited.profile,
        profile=by.profile,
        device=by.devices[0].id,
        message=MessageId(id_of(10_000 + 2 * key + number)),
        client_id=ClientId(id_of(20_000 + 2 * key + number)),
        sent_ms=at_ms,
    )


async def ask(stores: Stores, by: Person, whom: Person, number: int, at_ms: int | None = None) -> ConversationId:
    """Let somebody invite somebody into a group of their own."""
    conversation = ConversationId(id_of(number))
    at_ms = NOW_MS + number if at_ms is None else at_ms
    new = NewRoster(
        conversation=conversation,
        kind=ConversationKind.GROUP,
        members={
            by.profile: Member(by.account, Role.OWNER, accepted=True),
            whom.profile: Member(whom.account, Role.MEMBER, accepted=False),
        },
        pair=None,
        created_ms=at_ms,
        statements=[statement(by, 0, at_ms, number), statement(by, 1, at_ms, number, whom)],
        state=b"",
    )
    assert await stores.conversations.open(new) == (conversation, True)
    return conversation


async def answer(stores: Stores, conversation: ConversationId, number: int, by: Person, whom: Person | None) -> None:
    """Let who was asked accept; or decline where nobody is named."""
    members = {by.profile: Member(by.account, Role.OWNER, accepted=True)}
    if whom is not None:
        members[whom.profile] = Member(whom.account, Role.MEMBER, accepted=True)
    said = [statement(whom or by, 2, NOW_MS, 5_000 + number)]
    joining = frozenset() if whom is None else frozenset({whom.account})
    assert await stores.conversations.extend(ChainChange(conversation, 1, members, said, b"", joining, None))


async def shown(stores: Stores, most: int = 10) -> list[ConversationId]:
    """What Bob is asked."""
    return [each.conversation for each in await stores.conversations.invitations(bob_phone.id, most)]


async def test_what_waits_is_counted_until_it_is_answered(stores: Stores) -> None:
    """By account, and whether or not it was seen; who accepted shares a conversation from then on."""
    await settle(stores, alice, bob, carol)
    first, second, third = [await ask(stores, alice, bob, number) for number in (1, 2, 3)]

    async def standing() -> Reach:
        return (await stores.consent.reach(alice.account, [bob.profile, ProfileId(id_of(9))], NOW_MS))[bob.profile]

    waits = Reach(
        *(bob.account, FoundBy.EVERYONE), linked=False, shares=False, signed=False, waiting=3, blocked=False, asks=False
    )
    assert await standing() == waits
    asked = (await stores.consent.reach(bob.account, [alice.profile], NOW_MS))[alice.profile]
    assert (asked.shares, asked.waiting, asked.asks) == (False, 0, True)
    await answer(stores, first, 1, alice, None)
    assert (await standing()).waiting == 2
    await answer(stores, second, 2, alice, bob)
    assert await standing() == replace(waits, shares=True, signed=True, waiting=1)
    assert await stores.consent.block(bob.account, alice.account, NOW_MS, 1)
    assert (await standing()).blocked
    assert await shown(stores) == []
    other = (await stores.consent.reach(carol.account, [bob.profile], NOW_MS))[bob.profile]
    assert (other.shares, other.waiting, other.blocked) == (False, 0, False)
    await stores.consent.unblock(bob.account, alice.account)
    assert await shown(stores) == [third]


async def test_whose_signature_must_be_verified(stores: Stores) -> None:
    """Who was invited knows who invited; who signed and left is still known to those who are there."""
    await settle(stores, alice, bob, carol)
    conversation = await ask(stores, alice, bob, 1)

    async def signed(by: Person, whom: Person) -> bool:
        return (await stores.consent.reach(by.account, [whom.profile], NOW_MS))[whom.profile].signed

    assert (await signed(bob, alice), await signed(alice, bob), await signed(carol, alice)) == (True, False, False)
    await answer(stores, conversation, 1, alice, bob)
    left = ChainChange(
        conversation=conversation,
        after=2,
        members={alice.profile: Member(alice.account, Role.OWNER, accepted=True)},
        statements=[statement(bob, 3, NOW_MS, 6_000)],
        state=b"",
        joining=frozenset(),
        freed=None,
    )
    assert await stores.conversations.extend(left)
    assert (await signed(alice, bob), await signed(bob, alice)) == (True, False)


async def test_who_may_find_is_the_policy(stores: Stores) -> None:
    """As the profile has it now."""
    await settle(stores, alice, bob)
    policies = replace(bob.privat.policies, found_by=FoundBy.SHARED)
    await stores.profiles.replace(bob.account, bob.profile, Theme.DARK, policies)
    assert (await stores.consent.reach(alice.account, [bob.profile], NOW_MS))[bob.profile].found_by is FoundBy.SHARED


async def test_of_many_requests_the_greedy_give_way_first(stores: Stores) -> None:
    """Whoever asks once is seen beside somebody who asks often; among equals, the newest; friends always are."""
    await settle(stores, alice, bob, carol, dave, mallory)
    await open_conversation(stores, alice, bob)
    once = await ask(stores, carol, bob, 1)
    often = [await ask(stores, mallory, bob, number) for number in range(2, 7)]
    later = await ask(stores, dave, bob, 7)
    friend = [await ask(stores, alice, bob, number, NOW_MS - number) for number in range(8, 10)]
    assert await shown(stores) == [later, *often[::-1], once, *friend]
    assert await shown(stores, 4) == [later, *often[:2:-1], once, *friend]
    assert await shown(stores, 2) == [later, often[-1], *friend]


async def test_blocks_are_bounded_and_done_once(stores: Stores) -> None:
    """Newest first; the same again keeps its time, and is let in where there is room for no other."""
    await settle(stores, alice, bob, carol, dave)
    assert await stores.consent.block(alice.account, bob.account, 10, 2)
    assert await stores.consent.block(alice.account, carol.account, 20, 2)
    assert await stores.consent.block(alice.account, bob.account, 30, 2)
    assert not await stores.consent.block(alice.account, dave.account, 40, 2)
    assert await stores.consent.blocks(alice.account) == [Block(carol.account, 20), Block(bob.account, 10)]
    await stores.consent.unblock(alice.account, carol.account)
    await stores.consent.unblock(alice.account, carol.account)
    assert await stores.consent.blocks(alice.account) == [Block(bob.account, 10)]
    assert await stores.consent.blocks(bob.account) == []


@pytest.mark.parametrize("kind", [ConversationKind.DM, ConversationKind.SELF])
async def test_a_pair_is_found(stores: Stores, kind: ConversationKind) -> None:
    """By the profiles in the order of their ids."""
    await settle(stores, alice, bob)
    people = (alice, bob) if kind is ConversationKind.DM else (alice,)
    pair = min(each.profile for each in people), max(each.profile for each in people)
    assert await stores.conversations.pair(pair) is None
    assert await stores.conversations.pair(pair) is None
    talk = await open_conversation(stores, *people, kind=kind)
    assert await stores.conversations.pair(pair) == talk
