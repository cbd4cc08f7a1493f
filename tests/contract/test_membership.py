"""Membership: what a chain of statements comes to, and every lie about one that is found."""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.chains import NOW_MS, Chain, ChainSigner, keys_of
from tests.contract.strategies import structs
from tests.ids import id_of
from varde_contract import membership as m
from varde_contract import membership_statements as s
from varde_contract.errors import PeerFault
from varde_contract.ids import ConversationId, ProfileId, SpaceId
from varde_contract.limits import MEMBERS_PER_CONVERSATION
from varde_contract.refusals import RefusalCode
from varde_contract.talk import ConversationKind, Role

ALICE, BOB, CAROL, DAVE, MALLORY = PEOPLE = [ChainSigner(name) for name in ("alice", "bob", "carol", "dave", "mallory")]
KEYS = keys_of(*PEOPLE)
LINK = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LINK_KEY = LINK.public_key().public_bytes_raw()
LATER_MS = NOW_MS + 1_000
encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode


def chain(kind: ConversationKind = ConversationKind.GROUP) -> Chain:
    """A conversation that alice just made."""
    return Chain(KEYS).create(ALICE, kind)


def group(*accepted: ChainSigner, role: Role = Role.MEMBER) -> Chain:
    """A group of alice's with these members."""
    made = chain()
    for each in accepted:
        made.say(ALICE, s.Invite, each.profile, each.account, role).say(each, s.Accept, None)
    return made


def dm() -> Chain:
    """A dm that bob has accepted."""
    made = chain(ConversationKind.DM).say(ALICE, s.Invite, BOB.profile, BOB.account, Role.MEMBER)
    return made.say(BOB, s.Accept, None)


def refusal(made: Chain, by: ChainSigner, kind: Any, *body: object) -> RefusalCode:
    """Why a statement is refused now. Whoever signs, the same rules hold in a replay without signatures."""
    signed = made.sign(by, kind, *body)
    with pytest.raises(s.ChainFault) as refused:
        m.apply(made.state, signed, KEYS)
    with pytest.raises(s.ChainFault):
        m.replay(made.state, signed)
    return refused.value.refusal


def via(by: ChainSigner, made: Chain) -> s.Via:
    """What somebody shows who has the link."""
    return s.Via(LINK_KEY, LINK.sign(s.link_statement(made.conversation, by.profile)))


def test_who_is_invited_is_no_member_before_accepting() -> None:
    """Things are encrypted for those only who said themselves that they want to be there."""
    made = chain().say(ALICE, s.Invite, BOB.profile, BOB.account, Role.ADMIN)
    assert set(made.now.accepted) == {ALICE.profile}
    made.say(BOB, s.Accept, None)
    assert made.now.accepted[BOB.profile] == m.Member(BOB.account, Role.ADMIN, accepted=True)


def test_declining_leaves_nothing_behind() -> None:
    """Who declined may be invited again, and accepts nothing meanwhile."""
    made = group().say(ALICE, s.Invite, BOB.profile, BOB.account, Role.MEMBER).say(BOB, s.Decline)
    assert BOB.profile not in made.now.members
    assert refusal(made, BOB, s.Accept, None) is RefusalCode.NOT_ALLOWED
    made.say(ALICE, s.Invite, BOB.profile, BOB.account, Role.MEMBER).say(BOB, s.Accept, None)


def test_a_dm_has_for_ever_the_two_of_its_beginning() -> None:
    """Nobody is added, removed or given a role; both may leave; and it cannot become a group."""
    made = dm()
    assert {member.role for member in made.now.members.values()} == {Role.MEMBER}
    assert refusal(made, ALICE, s.Invite, CAROL.profile, CAROL.account, Role.MEMBER) is RefusalCode.WRONG_KIND
    assert refusal(made, ALICE, s.Remove, BOB.profile) is RefusalCode.WRONG_KIND
    assert refusal(made, ALICE, s.ChangeRole, BOB.profile, Role.OWNER) is RefusalCode.WRONG_KIND
    assert refusal(made, ALICE, s.InviteLink, LINK_KEY, LATER_MS, 1, Role.MEMBER) is RefusalCode.WRONG_KIND
    assert refusal(made, ALICE, s.Policy, "invite", "members") is RefusalCode.WRONG_KIND
    made.say(BOB, s.Leave)
    assert set(made.now.members) == {ALICE.profile}
    assert refusal(made, ALICE, s.Invite, BOB.profile, BOB.account, Role.MEMBER) is RefusalCode.WRONG_KIND


def test_a_dm_gives_no_role() -> None:
    """In a dm nobody rules."""
    made = chain(ConversationKind.DM)
    assert refusal(made, ALICE, s.Invite, BOB.profile, BOB.account, Role.OWNER) is RefusalCode.WRONG_KIND


def test_a_conversation_with_oneself_stays_that() -> None:
    """Its creator is all there is, and does not leave."""
    made = chain(ConversationKind.SELF)
    assert refusal(made, ALICE, s.Invite, BOB.profile, BOB.account, Role.MEMBER) is RefusalCode.WRONG_KIND
    assert refusal(made, ALICE, s.Leave) is RefusalCode.WRONG_KIND


def test_roles_decide_in_a_group() -> None:
    """Owners do everything, admins invite and remove members, members nothing; policies are the owners'."""
    made = group(BOB, role=Role.ADMIN)
    made.say(BOB, s.Invite, CAROL.profile, CAROL.account, Role.MEMBER).say(CAROL, s.Accept, None)
    assert refusal(made, BOB, s.Invite, DAVE.profile, DAVE.account, Role.ADMIN) is RefusalCode.NOT_ALLOWED
    assert refusal(made, BOB, s.Remove, ALICE.profile) is RefusalCode.NOT_ALLOWED
    assert refusal(made, BOB, s.ChangeRole, BOB.profile, Role.OWNER) is RefusalCode.NOT_ALLOWED
    assert refusal(made, CAROL, s.Invite, DAVE.profile, DAVE.account, Role.MEMBER) is RefusalCode.NOT_ALLOWED
    assert refusal(made, CAROL, s.Remove, BOB.profile) is RefusalCode.NOT_ALLOWED
    assert refusal(made, BOB, s.Policy, "invite", "members") is RefusalCode.NOT_ALLOWED
    assert refusal(made, ALICE, s.Remove, ALICE.profile) is RefusalCode.NOT_ALLOWED
    assert refusal(made, ALICE, s.Remove, DAVE.profile) is RefusalCode.NOT_FOUND
    assert refusal(made, ALICE, s.ChangeRole, DAVE.profile, Role.ADMIN) is RefusalCode.NOT_FOUND
    made.say(ALICE, s.Policy, "invite", "members").say(CAROL, s.Invite, DAVE.profile, DAVE.account, Role.MEMBER)
    made.say(BOB, s.Remove, CAROL.profile).say(BOB, s.Remove, DAVE.profile)
    assert set(made.now.members) == {ALICE.profile, BOB.profile}


def test_a_group_keeps_an_owner() -> None:
    """The last owner leaves only when alone, and then the chain ends, invitations and all."""
    made = group(BOB)
    assert refusal(made, ALICE, s.Leave) is RefusalCode.LAST_OWNER
    assert refusal(made, ALICE, s.ChangeRole, ALICE.profile, Role.MEMBER) is RefusalCode.LAST_OWNER
    made.say(ALICE, s.ChangeRole, BOB.profile, Role.OWNER).say(ALICE, s.Leave)
    made.say(BOB, s.Invite, CAROL.profile, CAROL.account, Role.OWNER).say(BOB, s.Leave)
    assert not made.now.members
    assert refusal(made, CAROL, s.Accept, None) is RefusalCode.NOT_ALLOWED


def test_a_stranger_says_nothing() -> None:
    """Nor does a member's profile with another account, nor somebody who is only invited."""
    made = group(BOB).say(ALICE, s.Invite, CAROL.profile, CAROL.account, Role.ADMIN)
    for stranger in (MALLORY, CAROL):
        assert refusal(made, stranger, s.Invite, DAVE.profile, DAVE.account, Role.MEMBER) is RefusalCode.NOT_ALLOWED
        assert refusal(made, stranger, s.Leave) is RefusalCode.NOT_ALLOWED
    assert refusal(made, MALLORY, s.Accept, None) is RefusalCode.NOT_ALLOWED
    assert refusal(made, BOB, s.Accept, None) is RefusalCode.ALREADY_MEMBER
    assert refusal(made, ALICE, s.Invite, BOB.profile, BOB.account, Role.MEMBER) is RefusalCode.ALREADY_MEMBER
    assert refusal(made, MALLORY, s.Snapshot, made.now.digest_of_state) is RefusalCode.STALE_CHAIN


def test_another_account_does_not_accept_for_a_profile() -> None:
    """The invitation names the account, so who holds the profile id alone is not the one invited."""
    other = ChainSigner("bob's double")
    made = Chain(lambda _: other.key.public_key().public_bytes_raw())
    made.append(
        s.sign_statement(
            s.Create(*m.first_head(made.conversation, other.signer, 0), ConversationKind.GROUP, bytes(16)),
            other.key.sign,
        )
    )
    made.say(other, s.Invite, BOB.profile, BOB.account, Role.MEMBER)
    lie = s.Accept(*m.next_head(made.now, m.Signer(other.account, BOB.profile, other.device, 1), 0), None)
    with pytest.raises(s.ChainFault, match="no member"):
        m.apply(made.state, s.sign_statement(lie, other.key.sign), made.keys)


def test_a_link_invites_whoever_holds_it() -> None:
    """So often, until its time, and no longer than it is not withdrawn."""
    made = group().say(ALICE, s.InviteLink, LINK_KEY, NOW_MS, 1, Role.MEMBER)
    assert refusal(made, BOB, s.Accept, via(CAROL, made)) is RefusalCode.BAD_SIGNATURE
    assert refusal(made, ALICE, s.Accept, via(ALICE, made)) is RefusalCode.ALREADY_MEMBER
    made.say(BOB, s.Accept, via(BOB, made))
    assert made.now.accepted[BOB.profile].role is Role.MEMBER
    assert refusal(made, CAROL, s.Accept, via(CAROL, made)) is RefusalCode.NOT_FOUND
    made.say(ALICE, s.InviteLink, LINK_KEY, NOW_MS - 1, 9, Role.MEMBER)
    assert refusal(made, CAROL, s.Accept, via(CAROL, made)) is RefusalCode.NOT_FOUND
    made.say(ALICE, s.InviteLink, LINK_KEY, NOW_MS, 0, Role.MEMBER)
    assert not made.now.links
    assert refusal(made, BOB, s.InviteLink, LINK_KEY, NOW_MS, 1, Role.MEMBER) is RefusalCode.NOT_ALLOWED
    for number in range(m.LINKS_PER_CONVERSATION):
        made.say(ALICE, s.InviteLink, bytes([number]) * 32, NOW_MS, 1, Role.MEMBER)
    assert refusal(made, ALICE, s.InviteLink, LINK_KEY, NOW_MS, 1, Role.MEMBER) is RefusalCode.TOO_MANY


def test_an_invitation_by_name_says_more_than_a_link() -> None:
    """Who was invited as an admin and comes by a link is one."""
    made = group().say(ALICE, s.InviteLink, LINK_KEY, NOW_MS, 9, Role.MEMBER)
    made.say(ALICE, s.Invite, BOB.profile, BOB.account, Role.ADMIN).say(BOB, s.Accept, via(BOB, made))
    assert made.now.accepted[BOB.profile].role is Role.ADMIN


def test_a_conversation_is_full_once() -> None:
    """Those invited count: an invitation is a promise of a place."""
    made = group()
    for number in range(MEMBERS_PER_CONVERSATION - 1):
        guest = ChainSigner(f"guest {number}")
        made.say(ALICE, s.Invite, guest.profile, guest.account, Role.MEMBER)
    assert refusal(made, ALICE, s.Invite, BOB.profile, BOB.account, Role.MEMBER) is RefusalCode.TOO_MANY


def test_the_kind_is_what_the_first_hash_says() -> None:
    """The same creation as a dm and as a group has two hashes, so no later statement fits both."""
    as_dm, as_group = chain(ConversationKind.DM), chain()
    assert as_dm.now.head != as_group.now.head
    accept = as_dm.sign(ALICE, s.Invite, BOB.profile, BOB.account, Role.MEMBER)
    with pytest.raises(s.ChainFault, match="does not follow"):
        m.apply(as_group.state, accept, KEYS)


def test_a_chain_begins_once() -> None:
    """With a creation, which is number 0 and follows nothing."""
    made = group(BOB)
    with pytest.raises(s.ChainFault):
        m.apply(None, made.signed[1], KEYS)
    with pytest.raises(s.ChainFault):
        m.apply(made.state, made.signed[0], KEYS)
    for head in (
        m.first_head(made.conversation, ALICE.signer, 0)._replace(number=1),
        m.first_head(made.conversation, ALICE.signer, 0)._replace(previous=bytes(32)),
    ):
        with pytest.raises(s.ChainFault):
            m.apply(None, s.sign_statement(s.Create(*head, ConversationKind.DM, bytes(16)), ALICE.key.sign), KEYS)


def test_a_statement_of_another_conversation_does_not_fit() -> None:
    """Not even where number and hash were the same."""
    made = group()
    head = m.next_head(made.now, ALICE.signer, 0)._replace(conversation=ConversationId(ALICE.account))
    with pytest.raises(s.ChainFault, match="another conversation"):
        m.apply(made.state, s.sign_statement(s.Leave(*head), ALICE.key.sign), KEYS)


def test_a_forged_statement_is_found() -> None:
    """Signed by another key, or for another purpose, or with a bit turned."""
    made = group(BOB)
    statement = s.Leave(*m.next_head(made.now, BOB.signer, NOW_MS))
    for sign in (MALLORY.key.sign, lambda signed: BOB.key.sign(b"other label\x00" + signed)):
        with pytest.raises(s.ChainFault) as forged:
            m.apply(made.state, s.sign_statement(statement, sign), KEYS)
        assert forged.value.refusal is RefusalCode.BAD_SIGNATURE
    with pytest.raises(s.ChainFault):
        m.apply(made.state, s.sign_statement(statement, BOB.key.sign), lambda _: bytes(31))


@given(st.data())
def test_reordered_replayed_and_left_out_statements_are_found(data: st.DataObject) -> None:
    """Each fits where it was signed, and at no other place of any chain of the conversation."""
    made = group(BOB, CAROL).say(ALICE, s.ChangeRole, BOB.profile, Role.ADMIN).say(CAROL, s.Leave)
    place = data.draw(st.integers(0, len(made.signed)))
    other = data.draw(st.integers(0, len(made.signed) - 1))
    state: m.Membership | None = None
    for signed in made.signed[:place]:
        state = m.apply(state, signed, KEYS)
    if other == place:
        m.apply(state, made.signed[other], KEYS)
    else:
        with pytest.raises(s.ChainFault):
            m.apply(state, made.signed[other], KEYS)


def test_of_two_statements_with_one_number_only_the_first_holds() -> None:
    """The second names a hash that is not the last one any more."""
    made = group(BOB)
    second = made.sign(BOB, s.Leave)
    made.say(ALICE, s.Invite, CAROL.profile, CAROL.account, Role.MEMBER)
    with pytest.raises(s.ChainFault) as refused:
        m.apply(made.state, second, KEYS)
    assert refused.value.refusal is RefusalCode.STALE_CHAIN


def test_an_account_never_goes_back_to_an_older_device_list() -> None:
    """So a device that it removed cannot sign with the list that still had it."""
    made = group(BOB)
    made.say(ChainSigner("bob", list_number=3), s.Leave)
    made.say(ALICE, s.Invite, BOB.profile, BOB.account, Role.MEMBER)
    assert refusal(made, ChainSigner("bob", list_number=2), s.Accept, None) is RefusalCode.STALE_CHAIN
    made.say(ChainSigner("bob", list_number=3), s.Accept, None)


def test_an_unknown_statement_is_told_apart_from_a_forged_one() -> None:
    """Signed by a member's device it asks for an update; a signature that is not right is only a lie."""
    made = group(BOB)
    unknown = encode(["poll", *m.next_head(made.now, BOB.signer, NOW_MS), "readers"])
    with pytest.raises(s.UnknownStatement):
        m.apply(made.state, encode([unknown, BOB.key.sign(s.statement_bytes(unknown))]), KEYS)
    with pytest.raises(s.ChainFault) as forged:
        m.apply(made.state, encode([unknown, MALLORY.key.sign(s.statement_bytes(unknown))]), KEYS)
    assert not isinstance(forged.value, s.UnknownStatement)
    with pytest.raises(s.UnknownStatement):
        m.apply(made.state, made.sign(ALICE, s.Policy, "history", "kept"), KEYS)


def test_what_is_settled_is_read_strictly_and_not_done_yet() -> None:
    """Guests, channels and spaces: one encoding, every field; and then as a kind that is not known."""
    made = group(BOB)
    head = m.next_head(made.now, BOB.signer, NOW_MS)
    space = SpaceId(id_of(1))
    for good in (
        s.Guest(*head, LINK_KEY, NOW_MS, 1, s.GuestRight.MEDIA | s.GuestRight.WRITE, 10),
        s.Channel(*head, LINK_KEY, LINK_KEY, bytes(32), public=False),
        s.Space(*head, space, None),
    ):
        signed = s.sign_statement(good, BOB.key.sign)
        assert s.parse_statement(signed)[0] == good
        with pytest.raises(s.UnknownStatement):
            m.apply(made.state, signed, KEYS)
    for bad in (
        ["guest", *head, LINK_KEY, NOW_MS, 1, 8, 10],
        ["guest", *head, LINK_KEY, NOW_MS, 1, ["write"], 10],
        ["guest", *head, LINK_KEY, NOW_MS, 1, 1],
        ["channel", *head, LINK_KEY, b"", bytes(32), True],
        ["channel", *head, LINK_KEY, None, bytes(32), True, 1],
        ["space", *head, bytes(16), None],
        ["space", *head, space, bytes(31)],
    ):
        encoded = encode(bad)
        with pytest.raises(s.ChainFault) as refused:
            m.apply(made.state, encode([encoded, BOB.key.sign(s.statement_bytes(encoded))]), KEYS)
        assert not isinstance(refused.value, s.UnknownStatement)


@given(st.binary(max_size=600) | st.lists(st.text() | st.integers(0, 2**63) | st.binary()).map(encode))
def test_bytes_from_outside_are_a_statement_or_a_named_fault(outside: bytes) -> None:
    """Nothing else is raised, whatever comes."""
    for signed in (outside, encode([outside, bytes(64)])):
        with pytest.raises(s.ChainFault):
            m.apply(group().state, signed, KEYS)
        try:
            m.decode_state(signed)
        except PeerFault:
            continue


@given(structs(s.Invite), st.integers(0, 1_000))
def test_one_statement_has_one_encoding(statement: s.Invite, seed: int) -> None:
    """What was signed is read; the same with a longer integer or a byte more is not."""
    signed = s.sign_statement(statement, ALICE.key.sign)
    assert s.parse_statement(signed)[0] == statement
    at = seed % len(signed)
    for other in (signed + b"\x00", signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]):
        try:
            read, parts = s.parse_statement(other)
        except s.ChainFault:
            continue
        assert (read, parts.signature) != (statement, s.parse_statement(signed)[1].signature)


def test_every_256th_statement_is_a_snapshot() -> None:
    """A newcomer starts from its state, and what it does not have is bound by the hash."""
    made = group(BOB)
    while not m.snapshot_is_due(made.now):
        made.say(ALICE, s.ChangeRole, BOB.profile, Role.ADMIN)
    before = made.now
    assert refusal(made, ALICE, s.Remove, BOB.profile) is RefusalCode.STALE_CHAIN
    assert refusal(made, ALICE, s.Snapshot, bytes(32)) is RefusalCode.STALE_CHAIN
    made.say(BOB, s.Leave)
    assert made.now.number == m.SNAPSHOT_EVERY + 1
    state = m.decode_state(m.encode_state(before))
    for signed in made.signed[m.SNAPSHOT_EVERY :]:
        state = m.replay(state, signed)
    assert state == made.now
    ghost = msgspec.structs.replace(
        before,
        members={**before.members, ProfileId(MALLORY.profile): m.Member(MALLORY.account, Role.MEMBER, accepted=True)},
    )
    with pytest.raises(s.ChainFault, match="snapshot"):
        m.replay(ghost, made.signed[m.SNAPSHOT_EVERY])
