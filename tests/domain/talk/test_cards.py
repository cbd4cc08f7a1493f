"""Sealed cards at the server: who may change and see them, and that a number only grows."""

from typing import Final

import pytest

from domain.budgets import ALLOWANCES, Budget
from domain.talk.model import SealedCard
from tests.cast import alice, alice_phone, bob, bob_phone, carol_phone, mallory, mallory_phone, open_conversation
from tests.chains import CastSigner, opening
from tests.domain.registry import Registry, code_of
from tests.ids import id_of
from varde_contract import membership_statements as s
from varde_contract.card import SEALED_BYTES
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode
from varde_contract.talk import ConversationKind

SMALL: Final = SEALED_BYTES[0]


def card(number: int, mark: bytes = b"a") -> SealedCard:
    """A card as the server sees it."""
    return SealedCard(number, mark * SMALL)


@pytest.fixture
async def registry() -> Registry:
    """A server that knows the cast, where Alice has a card."""
    made = Registry()
    await made.settle()
    assert await made.cards.put_profile(alice_phone.actor, alice.profile, card(1)) == card(1)
    return made


async def test_a_number_only_grows(registry: Registry) -> None:
    """The same again answers the same; another one of its number, and every earlier one, is stale."""
    put = registry.cards.put_profile
    assert await put(alice_phone.actor, alice.profile, card(1)) == card(1)
    assert code_of(await put(alice_phone.actor, alice.profile, card(1, b"b"))) is RefusalCode.STALE_CARD
    assert await put(alice_phone.actor, alice.profile, card(7, b"c")) == card(7, b"c")
    assert code_of(await put(alice_phone.actor, alice.profile, card(6))) is RefusalCode.STALE_CARD
    assert await registry.cards.find_profile(alice_phone.actor, alice.profile) == card(7, b"c")


async def test_nobody_changes_the_card_of_another(registry: Registry) -> None:
    """Neither of a profile that is not the account's, nor of a group that the device does not belong to."""
    assert code_of(await registry.cards.put_profile(bob_phone.actor, alice.profile, card(2))) is RefusalCode.NOT_FOUND
    group = await open_conversation(registry.stores, alice, bob)
    assert code_of(await registry.cards.put_group(mallory_phone.actor, group, card(1))) is RefusalCode.NOT_FOUND
    assert code_of(await registry.cards.find_group(mallory_phone.actor, group)) is RefusalCode.NOT_FOUND
    assert await registry.cards.put_group(bob_phone.actor, group, card(1)) == card(1)
    assert await registry.cards.find_group(alice_phone.actor, group) == card(1)


async def test_only_groups_have_a_card(registry: Registry) -> None:
    """A dm has the names of its two."""
    dm = await open_conversation(registry.stores, alice, bob, kind=ConversationKind.DM)
    assert code_of(await registry.cards.put_group(alice_phone.actor, dm, card(1))) is RefusalCode.WRONG_KIND


async def test_a_card_is_seen_by_who_shares_a_conversation(registry: Registry) -> None:
    """By nobody else, and it is not told whether there is one."""
    find = registry.cards.find_profile
    for device in (bob_phone, carol_phone):
        assert code_of(await find(device.actor, alice.profile)) is RefusalCode.NOT_FOUND
    await open_conversation(registry.stores, alice, bob)
    assert await find(bob_phone.actor, alice.profile) == card(1)
    assert code_of(await find(carol_phone.actor, alice.profile)) is RefusalCode.NOT_FOUND
    assert code_of(await find(alice_phone.actor, bob.profile)) is RefusalCode.NOT_FOUND  # he has none


async def test_an_open_request_shows_the_cards_of_both(registry: Registry) -> None:
    """Who is asked sees who asks, and the other way round: until it is declined. A block changes no answer."""
    find = registry.cards.find_profile
    await registry.cards.put_profile(mallory_phone.actor, mallory.profile, card(3))
    chain = opening(CastSigner(mallory_phone), ConversationKind.DM, alice, conversation=ConversationId(id_of(1)))
    await registry.chains.open(mallory_phone.actor, chain.signed)
    assert await find(alice_phone.actor, mallory.profile) == card(3)
    assert await find(mallory_phone.actor, alice.profile) == card(1)
    await registry.consent.block(alice_phone.actor, mallory.account)
    assert await find(mallory_phone.actor, alice.profile) == card(1)
    declined = chain.sign(CastSigner(alice_phone), s.Decline)
    await registry.chains.extend(alice_phone.actor, chain.conversation, [declined])
    for device, other in ((alice_phone, mallory), (mallory_phone, alice)):
        assert code_of(await find(device.actor, other.profile)) is RefusalCode.NOT_FOUND


@pytest.mark.parametrize("size", [size + step for size in SEALED_BYTES for step in (-1, 1)])
async def test_other_sizes_are_refused(registry: Registry, size: int) -> None:
    """A size that is no bucket's would tell how long a name is."""
    odd = SealedCard(2, bytes(size))
    assert code_of(await registry.cards.put_profile(alice_phone.actor, alice.profile, odd)) is RefusalCode.BAD_CARD


async def test_cards_are_paid_for(registry: Registry) -> None:
    """As other bytes that are stored: a card that is changed without end would fill the database's log."""
    allowance = ALLOWANCES[Budget.STORED_BYTES].burst
    assert registry.budgets.spend(alice.account, Budget.STORED_BYTES, allowance - SMALL) is None
    refused = await registry.cards.put_profile(alice_phone.actor, alice.profile, card(3))
    assert code_of(refused) is RefusalCode.RATE_LIMITED
