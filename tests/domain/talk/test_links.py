"""Invitations by link at the server: who holds the key comes in, so often and so long as the chain says."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from domain.talk.events import MembershipChanged
from domain.talk.model import ChainHead, Extended
from simulation.stores.clock import MINUTE
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
)
from tests.chains import CONVERSATION, CastSigner, opening
from tests.domain.registry import Registry, code_of
from varde_contract import membership as m
from varde_contract import membership_statements as s
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.talk import ConversationKind, Role

ALICE, BOB, CAROL, MALLORY = (CastSigner(each) for each in (alice_phone, bob_phone, carol_phone, mallory_phone))
LINK, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([each]) * 32) for each in (1, 2))
LINK_KEY = LINK.public_key().public_bytes_raw()
NOT_FOUND = RefusalCode.NOT_FOUND


class Group:
    """A group of Alice's with a link for one, good for a minute."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.chain = opening(ALICE, ConversationKind.GROUP)

    async def begin(self, *, uses: int = 1) -> None:
        """Open it, and make the link."""
        await self.registry.settle()
        await self.registry.chains.open(alice_phone.actor, self.chain.signed)
        self.ends_ms = self.registry.clock() + MINUTE
        await self.say(ALICE, s.InviteLink, LINK_KEY, self.ends_ms, uses, Role.MEMBER)

    async def say(self, by: CastSigner, kind: type[s.Statement], *body: object) -> None:
        """State something that the server takes."""
        self.chain.say(by, kind, *body)  # type: ignore[arg-type]
        outcome = await self.registry.chains.extend(by.device.actor, CONVERSATION, self.chain.signed[-1:])
        assert isinstance(outcome, Extended), outcome

    async def try_to_come(self, by: CastDevice, person: Person, via: s.Via) -> tuple[object, object]:
        """Ask for the head, and come in; return both answers."""
        head = await self.registry.chains.link_head(by.actor, CONVERSATION, person.profile, via)
        place = m.next_head(self.chain.now, CastSigner(by).signer, self.registry.clock())
        signed = s.sign_statement(s.Accept(*place, via), by.signing.sign)
        outcome = await self.registry.chains.extend(by.actor, CONVERSATION, [signed])
        if isinstance(outcome, Extended):
            self.chain.append(signed)
        return head, outcome

    async def is_refused(self, by: CastDevice, person: Person, via: s.Via) -> bool:
        """Whether both are as if there were no such conversation, to whom is not in it."""
        answers = await self.try_to_come(by, person, via)
        assert len({each.detail for each in answers if isinstance(each, Refused)}) <= 1
        return all(isinstance(each, Refused) and each.code is NOT_FOUND for each in answers)


def via(person: Person, key: Ed25519PrivateKey = LINK) -> s.Via:
    """What somebody shows who has the link."""
    signature = key.sign(s.link_statement(CONVERSATION, person.profile))
    return s.Via(key.public_key().public_bytes_raw(), signature)


@pytest.fixture
def group() -> Group:
    """A group that is not begun."""
    return Group(Registry())


async def test_who_holds_the_key_comes_in(group: Group) -> None:
    """They learn the head, and are a member by their own statement; the others are told as of anybody else."""
    await group.begin()
    before = group.chain.now
    group.registry.bus.published.clear()
    head, outcome = await group.try_to_come(bob_phone, bob, via(bob))
    assert head == ChainHead(before.number, before.head)
    assert outcome == Extended((3,), 2, moved=True)
    assert group.registry.bus.published[0] == MembershipChanged(CONVERSATION, 2)
    roster = (await group.registry.stores.conversations.rosters([CONVERSATION]))[CONVERSATION]
    assert set(roster.members) == {alice.profile, bob.profile}
    # Of a link for one nothing is left; for who is in, it is only a statement that does not hold.
    assert await group.is_refused(carol_phone, carol, via(carol))
    _, again = await group.try_to_come(bob_phone, bob, via(bob))
    assert code_of(again) is NOT_FOUND


async def test_a_link_is_good_so_often(group: Group) -> None:
    """For two, and not for a third; of two at once who race for one number, the slower tries again."""
    await group.begin(uses=2)
    late = m.next_head(group.chain.now, CAROL.signer, 0)
    assert not await group.is_refused(bob_phone, bob, via(bob))
    signed = s.sign_statement(s.Accept(*late, via(carol)), carol_phone.signing.sign)
    outcome = await group.registry.chains.extend(carol_phone.actor, CONVERSATION, [signed])
    assert code_of(outcome) is RefusalCode.STALE_CHAIN
    assert not await group.is_refused(carol_phone, carol, via(carol))
    assert await group.is_refused(mallory_phone, mallory, via(mallory))


async def test_an_expired_link_lets_nobody_in(group: Group) -> None:
    """By the server's clock: the time in an acceptance is what its signer says."""
    await group.begin()
    group.registry.clock.advance(MINUTE + 1)
    assert await group.is_refused(bob_phone, bob, via(bob))
    place = replace_time(m.next_head(group.chain.now, BOB.signer, 0), group.ends_ms)
    signed = s.sign_statement(s.Accept(*place, via(bob)), bob_phone.signing.sign)
    assert code_of(await group.registry.chains.extend(bob_phone.actor, CONVERSATION, [signed])) is NOT_FOUND


def replace_time(head: m.Head, issued_ms: int) -> m.Head:
    """The same place at another time."""
    return head._replace(issued_ms=issued_ms)


async def test_who_was_invited_by_name_comes_by_no_expired_link(group: Group) -> None:
    """Also for who is in the conversation already the server's clock decides."""
    await group.begin()
    await group.say(ALICE, s.Invite, bob.profile, bob.account, Role.MEMBER)
    group.registry.clock.advance(MINUTE + 1)
    place = replace_time(m.next_head(group.chain.now, BOB.signer, 0), group.ends_ms)
    signed = s.sign_statement(s.Accept(*place, via(bob)), bob_phone.signing.sign)
    assert code_of(await group.registry.chains.extend(bob_phone.actor, CONVERSATION, [signed])) is NOT_FOUND


@pytest.mark.parametrize("what", ["wrong key", "of another", "forged", "revoked", "of somebody else's profile"])
async def test_other_keys_let_nobody_in(group: Group, what: str) -> None:
    """Another link's key, a proof for somebody else, a signature of nobody, and a link that was taken back."""
    await group.begin()
    shown = {
        "wrong key": via(mallory, OTHER),
        "of another": via(bob),
        "forged": replace(via(mallory), signature=bytes(64)),
        "revoked": via(mallory),
        "of somebody else's profile": via(bob),
    }[what]
    if what == "revoked":
        await group.say(ALICE, s.InviteLink, LINK_KEY, 0, 0, Role.MEMBER)
    person = bob if what == "of somebody else's profile" else mallory
    assert await group.is_refused(mallory_phone, person, shown)


async def test_a_member_makes_no_link_and_an_admin_none_for_owners(group: Group) -> None:
    """The rules of invitations by name."""
    await group.begin()
    assert not await group.is_refused(bob_phone, bob, via(bob))
    for role in (Role.MEMBER, Role.ADMIN):
        signed = group.chain.sign(BOB, s.InviteLink, LINK_KEY, group.ends_ms, 1, role)
        outcome = await group.registry.chains.extend(bob_phone.actor, CONVERSATION, [signed])
        assert code_of(outcome) is RefusalCode.NOT_ALLOWED
        if role is Role.MEMBER:
            await group.say(ALICE, s.ChangeRole, bob.profile, Role.ADMIN)


async def test_a_head_needs_a_device(group: Group) -> None:
    """A session without one signs nothing."""
    await group.begin()
    actor = replace(bob_phone.actor, device=None)
    found = await group.registry.chains.link_head(actor, CONVERSATION, bob.profile, via(bob))
    assert code_of(found) is RefusalCode.NO_DEVICE
