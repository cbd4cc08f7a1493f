"""The contract of the store of sealed cards."""

import trio

from domain.ports import Stores
from domain.talk.model import SealedCard
from tests.cast import alice, bob, open_conversation, settle
from varde_contract.card import CARD_STEP, SEALED_BYTES


def card(number: int, mark: bytes = b"a", size: int = SEALED_BYTES[0]) -> SealedCard:
    """A card as the server sees it."""
    return SealedCard(number, mark * size)


async def test_cards_of_profiles(stores: Stores) -> None:
    """The newest number stays, and none jumps; each profile has its own, and none is another account's."""
    await settle(stores, alice, bob)
    assert await stores.cards.profile(alice.account, alice.profile) is None
    assert await stores.cards.put_profile(alice.account, alice.profile, card(CARD_STEP + 1)) is None
    for number, size in enumerate(SEALED_BYTES, start=CARD_STEP):
        newer = card(number, size=size)
        assert await stores.cards.put_profile(alice.account, alice.profile, newer) == newer
    for stale in (newer, card(newer.number, b"b"), card(1), card(newer.number + CARD_STEP + 1)):
        assert await stores.cards.put_profile(alice.account, alice.profile, stale) == newer
    assert await stores.cards.profile(alice.account, alice.profile) == newer
    assert await stores.cards.profile(bob.account, bob.profile) is None
    assert await stores.cards.profile(bob.account, alice.profile) is None


async def test_cards_of_groups(stores: Stores) -> None:
    """The same of groups."""
    await settle(stores, alice, bob)
    group = await open_conversation(stores, alice, bob)
    assert await stores.cards.group(group) is None
    assert await stores.cards.put_group(group, card(CARD_STEP + 1)) is None
    assert await stores.cards.put_group(group, card(2)) == card(2)
    for stale in (card(1, b"b"), card(2 + CARD_STEP + 1)):
        assert await stores.cards.put_group(group, stale) == card(2)
    newer = card(2 + CARD_STEP)
    assert await stores.cards.put_group(group, newer) == newer
    assert await stores.cards.group(group) == newer
    assert await stores.cards.group(await open_conversation(stores, bob)) is None


async def test_of_several_at_once_one_number_has_one_card(nodes: tuple[Stores, Stores]) -> None:
    """Two devices that change a name in the same moment: all are told of the same card."""
    one, other = nodes
    await settle(one, alice)

    answers: list[SealedCard | None] = []

    async def put(stores: Stores, mark: bytes) -> None:
        answers.append(await stores.cards.put_profile(alice.account, alice.profile, card(1, mark)))

    async with trio.open_nursery() as nursery:
        for stores, mark in ((one, b"a"), (other, b"b")):
            nursery.start_soon(put, stores, mark)
    assert len(answers) == len(nodes)
    assert answers[0] == answers[1]
