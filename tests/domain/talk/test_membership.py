"""The rules of membership, over rosters alone: no store, no clock, no session. Each is tried from every role."""

from typing import TypeAlias

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.talk.membership import refuse_add, refuse_removal, refuse_role
from domain.talk.model import Roster
from tests.cast import Person, alice, alice_phone, bob, carol, dave, roster_of
from varde_contract.ids import ProfileId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.talk import ConversationKind, Role

Roles: TypeAlias = dict[Person, Role]
RANK = {Role.MEMBER: 0, Role.ADMIN: 1, Role.OWNER: 2}
roles = st.sampled_from(Role)


def group(members: Roles) -> Roster:
    """A group in which these people have these roles."""
    roster = roster_of(*members)
    seats = {person.profile: replace(roster.members[person.profile], role=role) for person, role in members.items()}
    return replace(roster, members=seats)


def word(outcome: Refused | None) -> RefusalCode | None:
    """The word of a refusal, None when it is allowed."""
    return outcome.code if outcome else None


@pytest.mark.parametrize(
    ("acting", "given_role", "expected"),
    [
        (Role.OWNER, Role.OWNER, None),
        (Role.OWNER, Role.ADMIN, None),
        (Role.OWNER, Role.MEMBER, None),
        (Role.ADMIN, Role.MEMBER, None),
        (Role.ADMIN, Role.ADMIN, RefusalCode.NOT_ALLOWED),
        (Role.ADMIN, Role.OWNER, RefusalCode.NOT_ALLOWED),
        (Role.MEMBER, Role.MEMBER, RefusalCode.NOT_ALLOWED),
    ],
)
def test_who_may_add_with_which_role(acting: Role, given_role: Role, expected: RefusalCode | None) -> None:
    """Nobody gives a role above their own right to give."""
    roster = group({alice: acting, bob: Role.OWNER})
    refused = refuse_add(roster, alice_phone.id, as_profile=alice.profile, profile=carol.profile, role=given_role)
    assert word(refused) is expected


def test_refusal_already_member() -> None:
    """A member is not added again, be it with another role."""
    roster = group({alice: Role.OWNER, bob: Role.MEMBER})
    refused = refuse_add(roster, alice_phone.id, as_profile=alice.profile, profile=bob.profile, role=Role.ADMIN)
    assert word(refused) is RefusalCode.ALREADY_MEMBER


def test_refusal_profile_not_allowed_for_acting_as_another() -> None:
    """A device acts only as a member whose messages it receives."""
    roster = group({alice: Role.MEMBER, bob: Role.OWNER})
    for profile in (bob.profile, alice.jobb.id, carol.profile):
        device = alice_phone.id
        add = refuse_add(roster, device, as_profile=profile, profile=carol.profile, role=Role.MEMBER)
        change = refuse_role(roster, device, as_profile=profile, profile=alice.profile, role=Role.OWNER)
        removal = refuse_removal(roster, device, as_profile=profile, profile=bob.profile)
        assert {word(add), word(change), word(removal)} == {RefusalCode.PROFILE_NOT_ALLOWED}


@pytest.mark.parametrize("kind", [ConversationKind.DM, ConversationKind.SELF])
def test_refusal_wrong_kind(kind: ConversationKind) -> None:
    """The members of a dm and of a note to oneself never change."""
    roster = replace(group({alice: Role.OWNER, bob: Role.OWNER}), kind=kind)
    device, own = alice_phone.id, alice.profile
    assert word(refuse_add(roster, device, as_profile=own, profile=carol.profile, role=Role.MEMBER)) == "wrong-kind"
    assert word(refuse_role(roster, device, as_profile=own, profile=bob.profile, role=Role.MEMBER)) == "wrong-kind"
    assert word(refuse_removal(roster, device, as_profile=own, profile=bob.profile)) == "wrong-kind"
    assert word(refuse_removal(roster, device, as_profile=None, profile=own)) == "wrong-kind"


def test_refusal_last_owner() -> None:
    """A group with members has an owner: the last one neither leaves nor steps down."""
    roster = group({alice: Role.OWNER, bob: Role.ADMIN})
    leaving = refuse_removal(roster, alice_phone.id, as_profile=None, profile=alice.profile)
    down = refuse_role(roster, alice_phone.id, as_profile=alice.profile, profile=alice.profile, role=Role.ADMIN)
    assert {word(leaving), word(down)} == {RefusalCode.LAST_OWNER}


def test_an_owner_leaves_once_another_was_made() -> None:
    """Promoting somebody first is the way out."""
    roster = group({alice: Role.OWNER, bob: Role.OWNER})
    assert refuse_removal(roster, alice_phone.id, as_profile=None, profile=alice.profile) is None


def test_the_last_one_in_a_group_may_leave_it() -> None:
    """There is nobody left to be without an owner."""
    roster = group({alice: Role.OWNER})
    assert refuse_removal(roster, alice_phone.id, as_profile=None, profile=alice.profile) is None


def test_refusal_malformed_when_it_is_not_clear_who_acts() -> None:
    """A device that receives for two members says as which of them it removes somebody else."""
    roster = group({alice: Role.OWNER, bob: Role.OWNER})
    own = frozenset({alice.profile, alice.jobb.id})
    both = replace(roster, devices={**roster.devices, alice_phone.id: own})
    assert word(refuse_removal(both, alice_phone.id, as_profile=None, profile=bob.profile)) == "malformed"
    assert refuse_removal(both, alice_phone.id, as_profile=alice.profile, profile=bob.profile) is None
    assert refuse_removal(both, alice_phone.id, as_profile=None, profile=alice.profile) is None


def test_refusal_not_found_for_who_is_no_member() -> None:
    """Who is not there can be neither promoted nor removed."""
    roster = group({alice: Role.OWNER})
    device, own = alice_phone.id, alice.profile
    assert word(refuse_role(roster, device, as_profile=own, profile=bob.profile, role=Role.ADMIN)) == "not-found"
    assert word(refuse_removal(roster, device, as_profile=own, profile=bob.profile)) == "not-found"


@given(acting=roles, target=roles)
def test_nobody_removes_an_equal_or_higher_but_owners(acting: Role, target: Role) -> None:
    """Owners remove anybody, admins remove members, members nobody."""
    roster = group({alice: acting, bob: target})
    allowed = refuse_removal(roster, alice_phone.id, as_profile=alice.profile, profile=bob.profile) is None
    assert allowed == (acting is Role.OWNER or RANK[acting] > RANK[target])


@given(acting=roles, target=roles, wanted=roles)
def test_only_owners_change_roles(acting: Role, target: Role, wanted: Role) -> None:
    """An admin cannot make themselves or a friend an owner."""
    assume(acting is not Role.OWNER)
    roster = group({alice: acting, bob: target, carol: Role.OWNER})
    for profile in (alice.profile, bob.profile):
        refused = refuse_role(roster, alice_phone.id, as_profile=alice.profile, profile=profile, role=wanted)
        assert word(refused) is RefusalCode.NOT_ALLOWED


@given(
    st.lists(st.tuples(st.sampled_from(["role", "remove"]), st.integers(0, 3), st.integers(0, 3), roles), max_size=12)
)
def test_no_series_of_changes_leaves_a_group_without_an_owner(changes: list[tuple[str, int, int, Role]]) -> None:
    """Whatever members do to each other, as long as there are members one of them is an owner."""
    people = [alice, bob, carol, dave]
    now: Roles = dict(zip(people, [Role.OWNER, Role.ADMIN, Role.MEMBER, Role.MEMBER], strict=True))
    for verb, acting, target, wanted in changes:
        one, other = people[acting], people[target]
        if one not in now:
            continue
        device, roster = one.devices[0].id, group(now)
        own, profile = one.profile, other.profile
        if verb == "role" and refuse_role(roster, device, as_profile=own, profile=profile, role=wanted) is None:
            now[other] = wanted
        if verb == "remove" and refuse_removal(roster, device, as_profile=own, profile=profile) is None:
            del now[other]
        assert not now or Role.OWNER in now.values()


def test_every_refusal_says_what_to_do_without_naming_anybody() -> None:
    """No id of a member is in a text that may end up in a log."""
    roster = group({alice: Role.MEMBER, bob: Role.OWNER})
    refused = refuse_removal(roster, alice_phone.id, as_profile=alice.profile, profile=bob.profile)
    assert refused is not None
    named: list[ProfileId] = [profile for profile in roster.members if str(profile) in refused.detail]
    assert named == []
