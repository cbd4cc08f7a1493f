"""Consent at the server: who may ask whom, how often, and what a block does and does not tell."""

from functools import partial
from typing import Final

import pytest
from msgspec.structs import replace

from domain.people.model import Account
from domain.talk.chains import Opened
from domain.talk.events import Invited, MembershipChanged
from domain.talk.model import Extended
from tests.cast import (
    CastDevice,
    Person,
    alice,
    alice_phone,
    bob,
    bob_phone,
    carol,
    carol_phone,
    mallory,
    mallory_phone,
    open_conversation,
)
from tests.chains import CastSigner, Chain, opening
from tests.domain.registry import Registry, code_of
from tests.ids import id_of
from varde_contract import membership_statements as s
from varde_contract.ids import AccountId, ClientId, ConversationId, ProfileId
from varde_contract.limits import BLOCKS_PER_ACCOUNT, REQUESTS_OF_STRANGERS, REQUESTS_PER_ACCOUNT
from varde_contract.people import FoundBy, Theme
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.talk import FirstWords
from varde_contract.talk import ConversationKind, Role

DM, GROUP = ConversationKind.DM, ConversationKind.GROUP
HOUR: Final = 3_600_000


@pytest.fixture
async def registry() -> Registry:
    """A server that knows the cast."""
    made = Registry()
    await made.settle()
    return made


async def ask(
    registry: Registry, by: CastDevice, *whom: Person, number: int, kind: ConversationKind = GROUP
) -> Opened | Refused:
    """Open a conversation with somebody."""
    chain = opening(CastSigner(by), kind, *whom, conversation=ConversationId(id_of(number)))
    return await registry.chains.open(by.actor, chain.signed)


async def set_found_by(registry: Registry, person: Person, found_by: FoundBy) -> None:
    """Change the policy of somebody's private mode."""
    policies = replace(person.privat.policies, found_by=found_by)
    await registry.profiles.replace(person.devices[0].actor, person.profile, Theme.DARK, policies)


async def test_one_account_has_eight_requests_with_one_profile(registry: Registry) -> None:
    """Nothing is stored or told beyond; an answer makes room, and others are asked as before."""
    for number in range(REQUESTS_PER_ACCOUNT):
        assert isinstance(await ask(registry, mallory_phone, bob, number=number), Opened)
    registry.bus.published.clear()
    assert code_of(await ask(registry, mallory_phone, bob, number=20)) is RefusalCode.TOO_MANY
    assert registry.bus.published == []
    assert isinstance(await ask(registry, mallory_phone, carol, number=21), Opened)
    assert isinstance(await ask(registry, alice_phone, bob, number=22), Opened)
    chain = opening(CastSigner(mallory_phone), GROUP, bob, conversation=ConversationId(id_of(0)))
    declined = chain.sign(CastSigner(bob_phone), s.Decline)
    assert isinstance(await registry.chains.extend(bob_phone.actor, chain.conversation, [declined]), Extended)
    assert isinstance(await ask(registry, mallory_phone, bob, number=20), Opened)


async def test_a_later_invitation_counts_as_the_first_one_does(registry: Registry) -> None:
    """Inviting into a conversation that is there is asking, too."""
    chain = Chain(opening(CastSigner(alice_phone), GROUP).keys, ConversationId(id_of(50)))
    chain.create(CastSigner(alice_phone), GROUP)
    await registry.chains.open(alice_phone.actor, chain.signed)
    for number in range(REQUESTS_PER_ACCOUNT):
        assert isinstance(await ask(registry, alice_phone, bob, number=number), Opened)
    invite = chain.sign(CastSigner(alice_phone), s.Invite, bob.profile, bob.account, Role.MEMBER)
    assert code_of(await registry.chains.extend(alice_phone.actor, chain.conversation, [invite])) is (
        RefusalCode.TOO_MANY
    )


async def test_strangers_are_asked_so_often_an_hour(registry: Registry) -> None:
    """Whoever shares no conversation; friends are asked as often as one likes."""
    strangers = [await stranger(registry, number) for number in range(70)]
    answers = [await ask(registry, mallory_phone, each, number=number) for number, each in enumerate(strangers)]
    assert sum(isinstance(each, Opened) for each in answers) == 64
    assert code_of(answers[-1]) is RefusalCode.RATE_LIMITED
    registry.clock.advance(HOUR)
    answers = [await ask(registry, mallory_phone, each, number=100 + n) for n, each in enumerate(strangers[:12])]
    assert sum(isinstance(each, Opened) for each in answers) == 10
    await open_conversation(registry.stores, mallory, bob)
    assert isinstance(await ask(registry, mallory_phone, bob, number=200), Opened)


async def stranger(registry: Registry, number: int) -> Person:
    """Somebody who can be invited, without a device."""
    account, profile = AccountId(id_of(1_000 + number)), ProfileId(id_of(2_000 + number))
    registry.memory.accounts[account] = Account(account, 1, 1)
    registry.memory.profiles[profile] = replace(bob.privat, account=account, id=profile)
    return Person("", "", b"", account, bob.root, registry.memory.profiles[profile], bob.jobb, ())


async def test_of_strangers_no_more_are_shown_than_fit(registry: Registry) -> None:
    """Five accounts with eight requests each: the oldest give way, and who asked once is among those shown."""
    await ask(registry, carol_phone, bob, number=0)
    registry.clock.advance(1)
    chain, number = await registry.chains.invitations(bob_phone.actor), 1
    assert not isinstance(chain, Refused)
    for _ in range(5):
        account = AccountId(id_of(3_000 + number))
        for _ in range(REQUESTS_PER_ACCOUNT):
            await ask(registry, mallory_phone, bob, number=number)
            talk = registry.memory.talks[ConversationId(id_of(number))]
            talk.members[bob.profile].inviter = account
            number += 1
    shown = await registry.chains.invitations(bob_phone.actor)
    assert not isinstance(shown, Refused)
    assert len(shown) == REQUESTS_OF_STRANGERS
    assert ConversationId(id_of(0)) in {each.conversation for each in shown}


async def test_a_block_is_told_to_nobody(registry: Registry) -> None:
    """The blocked one is answered word for word as others are; the blocker neither hears of it nor is shown it."""
    assert await registry.consent.block(bob_phone.actor, mallory.account) is None
    registry.bus.published.clear()
    blocked = [await ask(registry, mallory_phone, bob, number=number) for number in range(9)]
    assert not any(isinstance(event, Invited) for event in registry.bus.published)
    assert await registry.chains.invitations(bob_phone.actor) == []
    free = [await ask(registry, carol_phone, bob, number=100 + number) for number in range(9)]
    assert [type(each) for each in blocked] == [type(each) for each in free]
    assert blocked[-1] == free[-1]
    assert sum(isinstance(event, Invited) for event in registry.bus.published) == 8 * len(bob.devices)
    await registry.consent.unblock(bob_phone.actor, mallory.account)
    shown = await registry.chains.invitations(bob_phone.actor)
    assert not isinstance(shown, Refused)
    assert len(shown) == 16


async def test_whom_one_may_block(registry: Registry) -> None:
    """Others, known here or not, up to a limit."""
    assert code_of(await registry.consent.block(bob_phone.actor, bob.account)) is RefusalCode.NOT_ALLOWED
    for number in range(BLOCKS_PER_ACCOUNT):
        assert await registry.consent.block(bob_phone.actor, AccountId(id_of(number))) is None
    assert code_of(await registry.consent.block(bob_phone.actor, alice.account)) is RefusalCode.TOO_MANY
    assert len(await registry.consent.blocks(bob_phone.actor)) == BLOCKS_PER_ACCOUNT


async def test_who_may_not_find_a_profile_learns_nothing_of_it(registry: Registry) -> None:
    """It is answered like one that does not exist; with `shared`, a common conversation lets one ask."""
    unknown = await ask(registry, alice_phone, await stranger_without_root(registry), number=1)
    for found_by in (FoundBy.SHARED, FoundBy.NOBODY):
        await set_found_by(registry, bob, found_by)
        assert await ask(registry, alice_phone, bob, number=2) == unknown
        assert not await registry.consent.may_find(alice_phone.actor, bob.profile)
        assert await registry.consent.may_find(bob_phone.actor, bob.profile)
    await open_conversation(registry.stores, alice, bob)
    assert await ask(registry, alice_phone, bob, number=2) == unknown
    assert await registry.consent.may_find(alice_phone.actor, bob.profile)
    await set_found_by(registry, bob, FoundBy.SHARED)
    assert isinstance(await ask(registry, alice_phone, bob, number=2), Opened)


async def stranger_without_root(registry: Registry) -> Person:
    """Somebody who cannot be written to yet."""
    person = await stranger(registry, 99)
    registry.memory.accounts[person.account] = Account(person.account, 1, 0)
    return person


async def test_a_dm_that_is_there_is_opened_by_anybodys_leave(registry: Registry) -> None:
    """Nobody is asked again, so neither policy nor limits count; also while it waits for an answer."""
    opened = await ask(registry, alice_phone, bob, number=1, kind=DM)
    assert isinstance(opened, Opened)
    await set_found_by(registry, bob, FoundBy.NOBODY)
    await set_found_by(registry, alice, FoundBy.NOBODY)
    registry.bus.published.clear()
    for by, other in ((alice_phone, bob), (bob_phone, alice)):
        again = await ask(registry, by, other, number=2, kind=DM)
        assert again == Opened(opened.conversation, made=False)
    assert registry.bus.published == []


async def test_a_dm_is_declined_and_left(registry: Registry) -> None:
    """After either, its two may begin another one."""
    signer = CastSigner(bob_phone)
    for number, words in ((1, [s.Decline]), (2, [s.Accept, s.Leave])):
        chain = opening(CastSigner(alice_phone), DM, bob, conversation=ConversationId(id_of(number)))
        assert isinstance(await registry.chains.open(alice_phone.actor, chain.signed), Opened)
        for word in words:
            chain.say(signer, word, *([None] if word is s.Accept else []))
            said = await registry.chains.extend(bob_phone.actor, chain.conversation, [chain.signed[-1]])
            assert isinstance(said, Extended)
        roster = (await registry.stores.conversations.rosters([chain.conversation]))[chain.conversation]
        assert set(roster.members) == {alice.profile}
    assert isinstance(registry.bus.published[-2], MembershipChanged)


async def test_first_words_need_a_device_and_cost_as_messages_do(registry: Registry) -> None:
    """A session without a device cannot write them; whoever writes on and on is refused before the store is asked."""
    opened = await ask(registry, alice_phone, bob, number=1, kind=DM)
    assert isinstance(opened, Opened)
    said = FirstWords(ClientId(id_of(2)), alice.profile, {bob_phone.id: bytes(4 << 20)})
    mailbox = replace(alice_phone.actor, device=None)
    assert code_of(await registry.consent.put_words(mailbox, opened.conversation, bob.profile, said)) is (
        RefusalCode.NO_DEVICE
    )
    write = partial(registry.consent.put_words, alice_phone.actor, opened.conversation, bob.profile, said)
    outcomes = [await write() for _ in range(300)]
    (refused,) = {each.code for each in outcomes if each is not None}
    assert refused is RefusalCode.RATE_LIMITED
