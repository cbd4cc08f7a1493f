"""Members: added, promoted, removed and leaving, decided on the roster that is stored upon.

The rules alone are in `test_membership.py`.
"""

from collections.abc import Awaitable, Callable

import pytest

from domain.people.model import Actor, RosterChange
from domain.talk.events import MembershipChanged
from domain.talk.members import TRIES, Members
from domain.talk.model import Roster
from domain.talk.ports import MemberFault
from tests.cast import alice, alice_phone, bob, bob_phone, carol, carol_phone, mallory_phone, open_conversation
from tests.domain.registry import Registry, code_of
from tests.doubles.conversations import MemoryConversations
from tests.doubles.memory import Membership
from tests.ids import id_of
from varde_contract.ids import AccountId, ConversationId, ProfileId
from varde_contract.limits import MEMBERS_PER_CONVERSATION
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.talk import Role

NOBODY = ProfileId(id_of(7))
NOWHERE = ConversationId(id_of(7))
Change = Callable[[Members, Actor, ConversationId], Awaitable[Refused | None]]


@pytest.fixture
async def registry() -> Registry:
    """A server that knows the cast."""
    made = Registry()
    await made.settle()
    return made


@pytest.fixture
async def group(registry: Registry) -> ConversationId:
    """A group that Alice owns and Bob is in."""
    return await open_conversation(registry.stores, alice, bob)


async def roster(registry: Registry, conversation: ConversationId) -> Roster:
    """The roster as it is now."""
    return (await registry.stores.conversations.rosters([conversation]))[conversation]


async def add_carol(members: Members, actor: Actor, conversation: ConversationId) -> Refused | None:
    """Add Carol as Alice."""
    return await members.add(actor, conversation, carol.profile, Role.MEMBER, as_profile=alice.profile)


async def promote_bob(members: Members, actor: Actor, conversation: ConversationId) -> Refused | None:
    """Make Bob an owner as Alice."""
    return await members.set_role(actor, conversation, bob.profile, Role.OWNER, as_profile=alice.profile)


async def remove_bob(members: Members, actor: Actor, conversation: ConversationId) -> Refused | None:
    """Remove Bob as Alice."""
    return await members.remove(actor, conversation, bob.profile, as_profile=alice.profile)


every_change = pytest.mark.parametrize("change", [add_carol, promote_bob, remove_bob])


async def test_an_added_member_belongs_from_then_on(registry: Registry, group: ConversationId) -> None:
    """Carol's device is in the roster, and every relay is told."""
    assert await add_carol(registry.members, alice_phone.actor, group) is None
    now = await roster(registry, group)
    assert now.members[carol.profile].role is Role.MEMBER
    assert carol_phone.id in now.devices
    assert registry.bus.published == [MembershipChanged(group, now.version)]


async def test_a_removed_member_is_an_outsider(registry: Registry, group: ConversationId) -> None:
    """Bob's devices leave the roster, and he hears nothing of the conversation any more."""
    assert await remove_bob(registry.members, alice_phone.actor, group) is None
    now = await roster(registry, group)
    assert set(now.members) == {alice.profile}
    assert bob_phone.id not in now.devices
    assert registry.bus.published == [MembershipChanged(group, now.version)]
    assert code_of(await registry.conversations.view(bob_phone.actor, group)) is RefusalCode.NOT_FOUND


async def test_a_member_leaves(registry: Registry, group: ConversationId) -> None:
    """Nobody has to ask to leave."""
    assert await registry.members.remove(bob_phone.actor, group, bob.profile) is None
    assert set((await roster(registry, group)).members) == {alice.profile}


async def test_a_promoted_owner_lets_the_first_one_leave(registry: Registry, group: ConversationId) -> None:
    """The last owner is refused until somebody else is one."""
    refused = await registry.members.remove(alice_phone.actor, group, alice.profile)
    assert code_of(refused) is RefusalCode.LAST_OWNER
    assert await promote_bob(registry.members, alice_phone.actor, group) is None
    assert await registry.members.remove(alice_phone.actor, group, alice.profile) is None


@every_change
async def test_refusal_not_found_for_outsiders(registry: Registry, group: ConversationId, change: Change) -> None:
    """An outsider changes nothing and hears the same of a conversation that is not there."""
    before = await roster(registry, group)
    hidden = await change(registry.members, mallory_phone.actor, group)
    assert hidden == await change(registry.members, mallory_phone.actor, NOWHERE)
    assert code_of(hidden) is RefusalCode.NOT_FOUND
    assert await roster(registry, group) == before


@every_change
async def test_refusal_no_device_for_members(registry: Registry, group: ConversationId, change: Change) -> None:
    """A session without a device belongs to no conversation."""
    without = Actor(alice.account, alice_phone.session.id, None)
    assert code_of(await change(registry.members, without, group)) is RefusalCode.NO_DEVICE


async def test_refusal_not_allowed_for_a_plain_member(registry: Registry, group: ConversationId) -> None:
    """Bob, who is in, can neither add nor remove, and nothing is announced."""
    add = await registry.members.add(bob_phone.actor, group, carol.profile, Role.MEMBER, as_profile=bob.profile)
    removal = await registry.members.remove(bob_phone.actor, group, alice.profile, as_profile=bob.profile)
    assert {code_of(add), code_of(removal)} == {RefusalCode.NOT_ALLOWED}
    assert registry.bus.published == []


async def test_refusal_not_found_for_a_profile_nobody_has(registry: Registry, group: ConversationId) -> None:
    """Who does not exist is not added."""
    refused = await registry.members.add(alice_phone.actor, group, NOBODY, Role.MEMBER, as_profile=alice.profile)
    assert code_of(refused) is RefusalCode.NOT_FOUND


async def test_refusal_too_many_members_in_a_group(registry: Registry, group: ConversationId) -> None:
    """A group that is full takes nobody."""
    members = registry.memory.talks[group].members
    for number in range(MEMBERS_PER_CONVERSATION - len(members)):
        filler = ProfileId(id_of(number + 100))
        registry.memory.profiles[filler] = bob.privat
        members[filler] = Membership(AccountId(id_of(number + 100)), Role.MEMBER, 1)
    assert code_of(await add_carol(registry.members, alice_phone.actor, group)) is RefusalCode.TOO_MANY


class _MovingConversations(MemoryConversations):
    """Lets somebody else be faster: moves the roster `moves` times just before a change is stored."""

    moves = 0

    async def remove_member(
        self, conversation: ConversationId, version: int, profile: ProfileId
    ) -> RosterChange | MemberFault:
        if self.moves > 0:
            self.moves -= 1
            self._memory.talks[conversation].members[alice.profile].role = (
                Role.MEMBER if self.moves == 0 else Role.OWNER
            )
            self._memory.talks[conversation].move_version(0)
        return await super().remove_member(conversation, version, profile)


def moving(registry: Registry, moves: int) -> Members:
    """The rules over a store in which the roster keeps moving."""
    store = _MovingConversations(registry.memory, registry.interference)
    store.moves = moves
    return Members(store, registry.stores.profiles, registry.bus)


async def test_a_change_is_decided_again_when_the_roster_moved(registry: Registry, group: ConversationId) -> None:
    """Alice, who lost her role in the meantime, removes nobody: no decision outlives the roster it was made upon."""
    refused = await remove_bob(moving(registry, 1), alice_phone.actor, group)
    assert code_of(refused) is RefusalCode.NOT_ALLOWED
    assert bob.profile in (await roster(registry, group)).members


async def test_refusal_overloaded_when_the_roster_never_rests(registry: Registry, group: ConversationId) -> None:
    """A change does not wait for ever for its turn."""
    refused = await remove_bob(moving(registry, TRIES + 1), alice_phone.actor, group)
    assert isinstance(refused, Refused)
    assert refused.code is RefusalCode.OVERLOADED
    assert refused.retry_after_ms is not None
