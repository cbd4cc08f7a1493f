"""Conversations: opened as oneself, found again, and invisible to everybody outside.

How members change is in `test_members.py`.
"""

import pytest
import trio

from domain.people.model import Actor
from domain.talk.conversations import Opened, Page
from domain.talk.events import MembershipChanged
from tests.cast import (
    BIRTH_MS,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_phone,
    carol,
    dave,
    mallory_phone,
    revoke,
    set_profiles,
)
from tests.domain.registry import Registry, code_of
from tests.ids import id_of
from varde_contract.ids import ConversationId, ProfileId
from varde_contract.limits import MEMBERS_PER_CONVERSATION
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.talk import ConversationKind, Role

DM, GROUP, SELF = ConversationKind.DM, ConversationKind.GROUP, ConversationKind.SELF
NOBODY = ProfileId(id_of(7))
NOWHERE = ConversationId(id_of(7))
NO_DEVICE = Actor(alice.account, alice_phone.session.id, None)


@pytest.fixture
async def registry() -> Registry:
    """A server that knows the cast."""
    made = Registry()
    await made.settle()
    return made


async def opened(registry: Registry, kind: ConversationKind, *members: ProfileId) -> Opened:
    """Open a conversation as Alice's phone, successfully."""
    outcome = await registry.conversations.open(alice_phone.actor, kind, alice.profile, members)
    assert isinstance(outcome, Opened)
    return outcome


async def test_a_group_is_owned_by_who_opens_it(registry: Registry) -> None:
    """The opener may add and remove; the others may write."""
    roster = (await opened(registry, GROUP, bob.profile, carol.profile)).view.roster
    assert {profile: member.role for profile, member in roster.members.items()} == {
        alice.profile: Role.OWNER,
        bob.profile: Role.MEMBER,
        carol.profile: Role.MEMBER,
    }
    assert registry.bus.published == [MembershipChanged(roster.conversation, roster.version)]


async def test_the_view_has_what_a_sender_encrypts_for(registry: Registry) -> None:
    """Every device of every member, the salts of the profiles, and which device list of each account is the newest."""
    view = (await opened(registry, GROUP, bob.profile)).view
    assert set(view.roster.devices) == {device.id for device in (*alice.devices, *bob.devices)}
    assert view.salts == {alice.profile: alice.privat.salt, bob.profile: bob.privat.salt}
    assert {account: head.number for account, head in view.lists.items()} == {alice.account: 2, bob.account: 2}


async def test_nobody_rules_in_a_dm(registry: Registry) -> None:
    """The two of a dm are equal."""
    roster = (await opened(registry, DM, bob.profile)).view.roster
    assert {member.role for member in roster.members.values()} == {Role.MEMBER}


async def test_the_same_dm_is_opened_once_from_either_side(registry: Registry) -> None:
    """Two people have one dm, whoever begins."""
    first = await opened(registry, DM, bob.profile)
    other = await registry.conversations.open(bob_phone.actor, DM, bob.profile, [alice.profile])
    assert isinstance(other, Opened)
    assert (first.made, other.made) == (True, False)
    assert other.view.roster.conversation == first.view.roster.conversation
    assert len(registry.bus.published) == 1


async def test_both_sides_at_once_open_one_dm(registry: Registry) -> None:
    """Beginning in the same moment does not make two."""
    outcomes: list[object] = []

    async def begin(actor: Actor, own: ProfileId, other: ProfileId) -> None:
        outcomes.append(await registry.conversations.open(actor, DM, own, [other]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(begin, alice_phone.actor, alice.profile, bob.profile)
        nursery.start_soon(begin, bob_phone.actor, bob.profile, alice.profile)
    assert sorted(outcome.made for outcome in outcomes if isinstance(outcome, Opened)) == [False, True]
    assert len(registry.memory.talks) == 1


async def test_the_modes_of_one_person_have_dms_of_their_own(registry: Registry) -> None:
    """What is private does not turn up at work."""
    private = await opened(registry, DM, bob.profile)
    work = await registry.conversations.open(alice_phone.actor, DM, alice.jobb.id, [bob.profile])
    assert isinstance(work, Opened)
    assert work.view.roster.conversation != private.view.roster.conversation


async def test_a_note_to_self_is_opened_once(registry: Registry) -> None:
    """A conversation with oneself reaches all of one's devices."""
    first, second = await opened(registry, SELF), await opened(registry, SELF)
    assert (first.made, second.made) == (True, False)
    assert set(first.view.roster.devices) == {alice_phone.id, alice_laptop.id}


@pytest.mark.parametrize(
    ("kind", "members"),
    [(DM, []), (DM, [alice.profile]), (DM, [bob.profile, carol.profile]), (SELF, [bob.profile])],
)
async def test_refusal_malformed_when_kind_and_members_do_not_fit(
    registry: Registry, kind: ConversationKind, members: list[ProfileId]
) -> None:
    """A dm has two members and a note to self one."""
    refused = await registry.conversations.open(alice_phone.actor, kind, alice.profile, members)
    assert code_of(refused) is RefusalCode.MALFORMED


async def test_a_member_named_twice_is_one_member(registry: Registry) -> None:
    """Nor does it matter that the opener is in the list."""
    roster = (await opened(registry, GROUP, bob.profile, bob.profile, alice.profile)).view.roster
    assert set(roster.members) == {alice.profile, bob.profile}


async def test_refusal_too_many_members(registry: Registry) -> None:
    """A conversation has 256 members at most."""
    members = [ProfileId(id_of(number)) for number in range(MEMBERS_PER_CONVERSATION)]
    refused = await registry.conversations.open(alice_phone.actor, GROUP, alice.profile, members)
    assert code_of(refused) is RefusalCode.TOO_MANY


async def test_refusal_not_found_for_a_profile_that_cannot_be_written_to(registry: Registry) -> None:
    """An unknown profile and one whose account has no device list yet answer the same, and nothing is opened."""
    await registry.stores.sign_in.account_of(b"new", carol.account, BIRTH_MS)
    registry.memory.accounts[carol.account] = type(registry.memory.accounts[carol.account])(carol.account, 1, 0)
    unknown = await registry.conversations.open(alice_phone.actor, GROUP, alice.profile, [NOBODY, bob.profile])
    without_key = await registry.conversations.open(alice_phone.actor, DM, alice.profile, [carol.profile])
    assert unknown == without_key
    assert code_of(unknown) is RefusalCode.NOT_FOUND
    assert isinstance(unknown, Refused)
    assert unknown.detail.startswith("members[0] ")
    assert registry.memory.talks == {}


async def test_a_member_without_a_device_is_a_member(registry: Registry) -> None:
    """Somebody between two phones stays reachable: what is sent waits for their next device's time on."""
    await revoke(registry.stores, dave.account, dave.devices[0].id, BIRTH_MS)
    roster = (await opened(registry, GROUP, dave.profile)).view.roster
    assert dave.profile in roster.members
    assert not {device.id for device in dave.devices} & set(roster.devices)


async def test_refusal_profile_not_allowed_for_opening(registry: Registry) -> None:
    """A conversation is opened as a profile that the session's own device receives for."""
    await set_profiles(registry.stores, alice.account, alice_phone.id, [alice.jobb.id], BIRTH_MS)
    for profile in (alice.profile, bob.profile, NOBODY):
        refused = await registry.conversations.open(alice_phone.actor, GROUP, profile, [])
        assert code_of(refused) is RefusalCode.PROFILE_NOT_ALLOWED


async def test_refusal_no_device_for_conversations(registry: Registry) -> None:
    """A session without a device belongs to no conversation."""
    assert code_of(await registry.conversations.open(NO_DEVICE, SELF, alice.profile, [])) is RefusalCode.NO_DEVICE
    assert code_of(await registry.conversations.view(NO_DEVICE, NOWHERE)) is RefusalCode.NO_DEVICE
    assert code_of(await registry.conversations.list_for(NO_DEVICE, None, 10)) is RefusalCode.NO_DEVICE


async def test_refusal_not_found_for_the_conversation_of_others(registry: Registry) -> None:
    """An outsider hears the same of a conversation that is there and of one that is not."""
    conversation = (await opened(registry, GROUP, bob.profile)).view.roster.conversation
    hidden = await registry.conversations.view(mallory_phone.actor, conversation)
    assert hidden == await registry.conversations.view(mallory_phone.actor, NOWHERE)
    assert code_of(hidden) is RefusalCode.NOT_FOUND


async def test_a_device_without_the_profile_is_an_outsider(registry: Registry) -> None:
    """The work phone does not show private conversations, although it is the same person's."""
    conversation = (await opened(registry, GROUP, bob.profile)).view.roster.conversation
    await set_profiles(registry.stores, alice.account, alice_laptop.id, [alice.jobb.id], BIRTH_MS)
    assert code_of(await registry.conversations.view(alice_laptop.actor, conversation)) is RefusalCode.NOT_FOUND
    assert not isinstance(await registry.conversations.view(alice_phone.actor, conversation), Refused)


async def test_the_list_is_paged_without_holes_or_repeats(registry: Registry) -> None:
    """Following the cursor meets every conversation of the device once, in order, and then ends."""
    made = [(await opened(registry, GROUP, bob.profile)).view.roster.conversation for _ in range(5)]
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
    await opened(registry, GROUP, bob.profile)
    assert await registry.conversations.list_for(mallory_phone.actor, None, 10) == Page([], None)
