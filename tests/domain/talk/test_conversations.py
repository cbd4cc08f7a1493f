"""Conversations: found again, and invisible to everybody outside. How they begin and change is in `test_chains.py`."""

import pytest

from domain.people.model import Actor
from domain.talk.chains import Opened
from domain.talk.conversations import Page
from domain.talk.model import Extended, RosterView
from tests.cast import (
    BIRTH_MS,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_phone,
    mallory_phone,
    set_profiles,
)
from tests.chains import CastSigner, opening
from tests.domain.registry import Registry, code_of
from tests.ids import id_of
from varde.clock import fresh_id
from varde_contract.ids import ConversationId
from varde_contract.membership_statements import Accept
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.talk import ConversationKind

GROUP = ConversationKind.GROUP
NOWHERE = ConversationId(id_of(7))
NO_DEVICE = Actor(alice.account, alice_phone.session.id, None)


@pytest.fixture
async def registry() -> Registry:
    """A server that knows the cast."""
    made = Registry()
    await made.settle()
    return made


async def opened(registry: Registry) -> ConversationId:
    """Open a group of Alice's phone with Bob in it."""
    chain = opening(CastSigner(alice_phone), GROUP, bob, conversation=ConversationId(fresh_id()))
    assert await registry.chains.open(alice_phone.actor, chain.signed) == Opened(chain.conversation, made=True)
    accepted = chain.sign(CastSigner(bob_phone), Accept, None)
    assert isinstance(await registry.chains.extend(bob_phone.actor, chain.conversation, [accepted]), Extended)
    return chain.conversation


async def test_the_view_has_what_a_sender_encrypts_for(registry: Registry) -> None:
    """Every device of every member, the salts of the profiles, and which device list of each account is the newest."""
    view = await registry.conversations.view(alice_phone.actor, await opened(registry))
    assert isinstance(view, RosterView)
    assert set(view.roster.devices) == {device.id for device in (*alice.devices, *bob.devices)}
    assert view.salts == {alice.profile: alice.privat.salt, bob.profile: bob.privat.salt}
    assert {account: head.number for account, head in view.lists.items()} == {alice.account: 2, bob.account: 2}


async def test_refusal_no_device_for_conversations(registry: Registry) -> None:
    """A session without a device belongs to no conversation."""
    assert code_of(await registry.conversations.view(NO_DEVICE, NOWHERE)) is RefusalCode.NO_DEVICE
    assert code_of(await registry.conversations.list_for(NO_DEVICE, None, 10)) is RefusalCode.NO_DEVICE


async def test_refusal_not_found_for_the_conversation_of_others(registry: Registry) -> None:
    """An outsider hears the same of a conversation that is there and of one that is not."""
    conversation = await opened(registry)
    hidden = await registry.conversations.view(mallory_phone.actor, conversation)
    assert hidden == await registry.conversations.view(mallory_phone.actor, NOWHERE)
    assert code_of(hidden) is RefusalCode.NOT_FOUND


async def test_a_device_without_the_profile_is_an_outsider(registry: Registry) -> None:
    """The work phone does not show private conversations, although it is the same person's."""
    conversation = await opened(registry)
    await set_profiles(registry.stores, alice.account, alice_laptop.id, [alice.jobb.id], BIRTH_MS)
    assert code_of(await registry.conversations.view(alice_laptop.actor, conversation)) is RefusalCode.NOT_FOUND
    assert not isinstance(await registry.conversations.view(alice_phone.actor, conversation), Refused)


async def test_the_list_is_paged_without_holes_or_repeats(registry: Registry) -> None:
    """Following the cursor meets every conversation of the device once, in order, and then ends."""
    made = [await opened(registry) for _ in range(5)]
    found: list[ConversationId] = []
    after: ConversationId | None = None
    while True:
        page = await registry.conversations.list_for(alice_phone.actor, after, 2)
        assert isinstance(page, Page)
        found += [summary.conversation for summary in page.summaries]
        after = page.following
        if after is None:
            break
    assert found == sorted(made)


async def test_the_list_of_an_outsider_is_empty(registry: Registry) -> None:
    """Nobody sees the conversations of others in theirs."""
    await opened(registry)
    assert await registry.conversations.list_for(mallory_phone.actor, None, 10) == Page([], None)
