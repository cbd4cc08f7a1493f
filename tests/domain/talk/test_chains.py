"""Membership at the server: statements of the asking device only, judged, stored once, and told."""

from uuid import UUID

import pytest
import trio
from msgspec.structs import replace

from domain.people.model import Account, Actor
from domain.talk.chains import Opened
from domain.talk.events import Invited, MembershipChanged, MessagesCommitted
from domain.talk.model import Extended, Invitation
from tests.cast import (
    CastDevice,
    Person,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_laptop,
    bob_phone,
    carol,
    carol_phone,
    mallory_phone,
)
from tests.chains import CONVERSATION, NOW_MS, CastSigner, Chain, opening
from tests.domain.registry import Registry, code_of
from tests.ids import id_of
from varde_contract import membership as m
from varde_contract import membership_statements as s
from varde_contract.envelope import Cipher, split_sealed
from varde_contract.ids import ConversationId, ProfileId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.talk import ConversationKind, Role

DM, GROUP, SELF = ConversationKind.DM, ConversationKind.GROUP, ConversationKind.SELF
ALICE, BOB, CAROL, MALLORY = (CastSigner(each) for each in (alice_phone, bob_phone, carol_phone, mallory_phone))
OTHER = ConversationId(UUID("019b76da-a800-7000-8000-0000000000c1"))
NO_DEVICE = Actor(alice.account, alice_phone.session.id, None)


@pytest.fixture
async def registry() -> Registry:
    """A server that knows the cast."""
    made = Registry()
    await made.settle()
    return made


async def begun(registry: Registry, kind: ConversationKind, *invited: Person) -> Chain:
    """A conversation that Alice's phone has opened."""
    chain = opening(ALICE, kind, *invited)
    assert await registry.chains.open(alice_phone.actor, chain.signed) == Opened(CONVERSATION, made=True)
    return chain


async def say(registry: Registry, by: CastDevice, signed: bytes) -> Extended | Refused:
    """Give the server one statement."""
    return await registry.chains.extend(by.actor, CONVERSATION, [signed])


async def accepted(registry: Registry, kind: ConversationKind = GROUP) -> Chain:
    """A conversation of Alice and Bob."""
    chain = await begun(registry, kind, bob)
    chain.say(BOB, s.Accept, None)
    assert isinstance(await say(registry, bob_phone, chain.signed[-1]), Extended)
    registry.bus.published.clear()
    return chain


async def test_who_is_invited_is_told_and_is_no_member(registry: Registry) -> None:
    """Each of their devices hears of it; none is in the roster, has a position, or is listed the conversation."""
    await begun(registry, GROUP, bob)
    assert registry.bus.published == [
        MembershipChanged(CONVERSATION, 1),
        *(Invited(device.id) for device in registry.memory.devices_of(bob.account)),
    ]
    roster = (await registry.stores.conversations.rosters([CONVERSATION]))[CONVERSATION]
    assert (set(roster.members), set(roster.devices)) == ({alice.profile}, {alice_phone.id, alice_laptop.id})
    assert await registry.stores.conversations.list_for(bob_phone.id, None, 10) == []
    assert await registry.chains.invitations(bob_phone.actor) == [Invitation(CONVERSATION, GROUP, bob.profile)]
    assert await registry.chains.invitations(alice_phone.actor) == []


async def test_who_accepts_gets_what_comes_from_then_on(registry: Registry) -> None:
    """The acceptance is a message of the log like any other, and the first that they have."""
    chain = await begun(registry, GROUP, bob)
    registry.bus.published.clear()
    signed = chain.sign(BOB, s.Accept, None)
    assert await say(registry, bob_phone, signed) == Extended((3,), 2, moved=True)
    assert registry.bus.published == [MembershipChanged(CONVERSATION, 2), MessagesCommitted("api", CONVERSATION, 3)]
    talk = registry.memory.talks[CONVERSATION]
    assert (talk.positions[bob_laptop.id].start, talk.positions[bob_laptop.id].upto) == (3, 2)
    assert split_sealed(talk.ciphers[3, None]) == (Cipher.MEMBERSHIP, b"", signed)
    assert await registry.chains.invitations(bob_phone.actor) == []


async def test_an_invitation_makes_nobody_encrypt_again(registry: Registry) -> None:
    """The roster version stays: those who get what is sent are the same."""
    chain = await accepted(registry)
    signed = chain.sign(ALICE, s.Invite, carol.profile, carol.account, Role.MEMBER)
    assert await say(registry, alice_phone, signed) == Extended((4,), 2, moved=False)
    assert registry.bus.published == [MessagesCommitted("api", CONVERSATION, 4), Invited(carol_phone.id)]


async def test_of_two_statements_with_one_number_the_first_holds(registry: Registry) -> None:
    """The other is refused, and after reading on the same can be said again."""
    chain = await accepted(registry)
    second = chain.sign(BOB, s.Leave)
    chain.say(ALICE, s.Invite, carol.profile, carol.account, Role.MEMBER)
    assert isinstance(await say(registry, alice_phone, chain.signed[-1]), Extended)
    assert code_of(await say(registry, bob_phone, second)) is RefusalCode.STALE_CHAIN
    assert isinstance(await say(registry, bob_phone, chain.sign(BOB, s.Leave)), Extended)


async def test_two_at_once_do_not_both_hold(registry: Registry) -> None:
    """Judged on the same membership, and stored one after the other: the store decides."""
    chain = await accepted(registry)
    answers: list[object] = []

    async def run(by: CastDevice, signed: bytes) -> None:
        answers.append(await say(registry, by, signed))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, bob_phone, chain.sign(BOB, s.Leave))
        nursery.start_soon(run, alice_phone, chain.sign(ALICE, s.Remove, bob.profile))
    assert sorted(isinstance(answer, Extended) for answer in answers) == [False, True]


async def test_the_same_again_is_answered_as_the_first_time(registry: Registry) -> None:
    """An answer that was lost is asked for again, for a beginning too; nothing is stored twice."""
    chain = await accepted(registry)
    assert await say(registry, bob_phone, chain.signed[-1]) == Extended((3,), 0, moved=False)
    again = await registry.chains.open(alice_phone.actor, chain.signed[:2])
    assert again == Opened(CONVERSATION, made=False)
    assert registry.memory.talks[CONVERSATION].head == 3
    other = opening(ALICE, DM, bob)
    assert code_of(await registry.chains.open(alice_phone.actor, other.signed)) is RefusalCode.STALE_CHAIN


async def test_nobody_signs_for_another_device(registry: Registry) -> None:
    """A statement is of the device that asks, as a profile it receives for, with its account's newest list."""
    chain = await accepted(registry)
    signed = chain.sign(ALICE, s.Remove, bob.profile)
    assert code_of(await say(registry, alice_laptop, signed)) is RefusalCode.NOT_ALLOWED
    foreign = chain.sign(CastSigner(alice_phone, carol.profile), s.Leave)
    assert code_of(await say(registry, alice_phone, foreign)) is RefusalCode.PROFILE_NOT_ALLOWED
    head = m.next_head(chain.now, ALICE.signer._replace(list_number=9), NOW_MS)
    ahead = s.sign_statement(s.Remove(*head, bob.profile), ALICE.key.sign)
    assert code_of(await say(registry, alice_phone, ahead)) is RefusalCode.STALE_CHAIN
    forged = s.sign_statement(s.Remove(*m.next_head(chain.now, ALICE.signer, NOW_MS), bob.profile), BOB.key.sign)
    assert code_of(await say(registry, alice_phone, forged)) is RefusalCode.BAD_SIGNATURE


async def test_the_rules_are_those_of_the_contract(registry: Registry) -> None:
    """A member does not remove, and what is no statement was signed by nobody."""
    chain = await accepted(registry)
    assert code_of(await say(registry, bob_phone, chain.sign(BOB, s.Remove, alice.profile))) is RefusalCode.NOT_ALLOWED
    assert code_of(await say(registry, alice_phone, b"what")) is RefusalCode.BAD_SIGNATURE


async def test_who_is_gone_reads_nothing_more(registry: Registry) -> None:
    """Removed or left: no position, and the conversation is not there for them; nor is its chain."""
    chain = await accepted(registry)
    assert await say(registry, alice_phone, chain.sign(ALICE, s.Remove, bob.profile)) == Extended((4,), 3, moved=True)
    assert bob_phone.id not in registry.memory.talks[CONVERSATION].positions
    for call in (
        registry.chains.page(bob_phone.actor, CONVERSATION, 0),
        registry.chains.extend(bob_phone.actor, CONVERSATION, chain.signed[-1:]),
        registry.conversations.view(bob_phone.actor, CONVERSATION),
    ):
        assert code_of(await call) is RefusalCode.NOT_FOUND


async def test_an_outsider_learns_nothing(registry: Registry) -> None:
    """Of a conversation that is there and of one that is not they hear the same."""
    chain = await accepted(registry)
    for actor in (mallory_phone.actor, carol_phone.actor):
        hidden = await registry.chains.page(actor, CONVERSATION, 0), await registry.chains.page(actor, OTHER, 0)
        assert hidden[0] == hidden[1]
        assert code_of(hidden[0]) is RefusalCode.NOT_FOUND
    lie = chain.sign(MALLORY, s.Accept, None)
    assert code_of(await say(registry, mallory_phone, lie)) is RefusalCode.NOT_FOUND


async def test_who_is_invited_reads_the_chain(registry: Registry) -> None:
    """And the view with the certificates of those who signed it: they decide on what is proven to them."""
    chain = await begun(registry, GROUP, bob)
    page = await registry.chains.page(bob_phone.actor, CONVERSATION, 0)
    assert not isinstance(page, Refused)
    assert [(each.number, each.seq, each.signed) for each in page] == [
        (0, 1, chain.signed[0]),
        (1, 2, chain.signed[1]),
    ]
    view = await registry.conversations.view(bob_phone.actor, CONVERSATION)
    assert not isinstance(view, Refused)
    assert (view.invited, set(view.roster.devices)) == ({bob.profile: bob.account}, {alice_phone.id, alice_laptop.id})
    assert code_of(await registry.conversations.view(carol_phone.actor, CONVERSATION)) is RefusalCode.NOT_FOUND


async def test_the_same_dm_is_opened_once_from_either_side(registry: Registry) -> None:
    """Two people have one dm, whoever begins; when it is over they may begin another one."""
    chain = await begun(registry, DM, bob)
    other = opening(BOB, DM, alice, conversation=OTHER)
    assert await registry.chains.open(bob_phone.actor, other.signed) == Opened(CONVERSATION, made=False)
    assert isinstance(await say(registry, bob_phone, chain.sign(BOB, s.Decline)), Extended)
    assert await registry.chains.open(bob_phone.actor, other.signed) == Opened(OTHER, made=True)


async def test_a_note_to_self_is_opened_once(registry: Registry) -> None:
    """A conversation with oneself reaches all of one's devices."""
    await begun(registry, SELF)
    again = opening(CastSigner(alice_laptop), SELF, conversation=OTHER)
    assert await registry.chains.open(alice_laptop.actor, again.signed) == Opened(CONVERSATION, made=False)


async def test_refusal_malformed_when_kind_and_members_do_not_fit(registry: Registry) -> None:
    """A dm begins with two, and everything with a creation."""
    lonely = opening(ALICE, DM)
    assert code_of(await registry.chains.open(alice_phone.actor, lonely.signed)) is RefusalCode.MALFORMED
    assert code_of(await registry.chains.open(alice_phone.actor, [])) is RefusalCode.MALFORMED


async def test_refusal_not_found_for_a_profile_that_cannot_be_written_to(registry: Registry) -> None:
    """An unknown profile, one of another account than was said, and one whose account has no root key yet."""
    registry.memory.accounts[carol.account] = Account(carol.account, 1, 0)
    chain = await accepted(registry)
    for profile, account in (
        (ProfileId(id_of(7)), bob.account),
        (bob.jobb.id, alice.account),
        (carol.profile, carol.account),
    ):
        signed = chain.sign(ALICE, s.Invite, profile, account, Role.MEMBER)
        assert code_of(await say(registry, alice_phone, signed)) is RefusalCode.NOT_FOUND


async def test_refusal_no_device(registry: Registry) -> None:
    """A session without a device says nothing."""
    chain = opening(ALICE, GROUP)
    for call in (
        registry.chains.open(NO_DEVICE, chain.signed),
        registry.chains.extend(NO_DEVICE, CONVERSATION, chain.signed),
        registry.chains.page(NO_DEVICE, CONVERSATION, 0),
        registry.chains.invitations(NO_DEVICE),
    ):
        assert code_of(await call) is RefusalCode.NO_DEVICE


async def test_a_newcomer_begins_with_the_last_snapshot(registry: Registry) -> None:
    """With its state, and nothing before it; whoever has more asks for the rest."""
    chain = await accepted(registry)
    while chain.now.number < m.SNAPSHOT_EVERY + 2:
        before = len(chain.signed)
        chain.say(ALICE, s.ChangeRole, bob.profile, (Role.ADMIN, Role.MEMBER)[chain.now.number % 2])
        answer = await registry.chains.extend(alice_phone.actor, CONVERSATION, chain.signed[before:])
        assert isinstance(answer, Extended)
    page = await registry.chains.page(bob_phone.actor, CONVERSATION, 0)
    assert not isinstance(page, Refused)
    assert [each.number for each in page] == [256, 257, 258]
    assert page[0].state is not None
    state = m.decode_state(page[0].state)
    for each in page:
        state = m.replay(state, each.signed)
    assert state == chain.now
    rest = await registry.chains.page(bob_phone.actor, CONVERSATION, 257)
    assert not isinstance(rest, Refused)
    assert [(each.number, each.state) for each in rest] == [(257, None), (258, None)]
    assert replace(page[1], seq=0) == replace(rest[0], seq=0)
    for holds, first in ((255, 0), (256, 256), (9_999, 256)):
        found = await registry.chains.page(bob_phone.actor, CONVERSATION, 0, holds)
        assert not isinstance(found, Refused)
        assert found[0].number == first
