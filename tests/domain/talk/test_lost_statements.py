"""Statements that a restored store has lost: put back by whoever holds them, judged at their place, and only then."""

from copy import deepcopy
from uuid import UUID

import pytest
import trio
from msgspec.structs import replace

from domain.talk.chains import Opened
from domain.talk.events import MembershipChanged, MessagesCommitted
from domain.talk.lost_statements import WINDOW_MS
from domain.talk.model import Extended
from simulation.stores.clock import DAY
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
    mallory,
    mallory_phone,
    revoke,
)
from tests.chains import CONVERSATION, CastSigner, Chain, opening
from tests.domain.registry import Registry, code_of
from varde_contract import membership_statements as s
from varde_contract.ids import ConversationId, EpochId, uuid7
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.talk import ConversationKind, Role

DM, GROUP = ConversationKind.DM, ConversationKind.GROUP
ALICE, BOB, CAROL, MALLORY = (CastSigner(each) for each in (alice_phone, bob_phone, carol_phone, mallory_phone))
OTHER = ConversationId(UUID("019b76da-a800-7000-8000-0000000000c1"))


class Restored(Registry):
    """A server that can be taken back to a backup."""

    def back_up(self) -> None:
        """Keep a copy of everything."""
        self._backup = deepcopy({**vars(self.memory), "clock": None})

    def restore(self, *, lost: bool = True) -> int:
        """Put the copy back; return when that was noticed. What is `lost` is known to be, or is not."""
        vars(self.memory).update({**deepcopy(self._backup), "clock": self.memory.clock})
        self.clock.advance(DAY)
        if lost:
            heads = {each: talk.head for each, talk in self.memory.talks.items()}
            self.memory.epochs.insert(0, (EpochId(uuid7(self.clock(), bytes(10))), heads))
        self.bus.published.clear()
        return self.clock()

    async def put_back(self, chain: Chain, *, by: CastDevice = bob_phone) -> Extended | Refused:
        """Let a device put back a chain."""
        return await self.lost_statements.put_back(by.actor, CONVERSATION, chain.signed)


@pytest.fixture
async def server() -> Restored:
    """A server that knows the cast."""
    made = Restored()
    await made.settle()
    return made


async def begun(server: Restored, kind: ConversationKind, *invited: Person) -> Chain:
    """A conversation that Alice's phone has opened."""
    chain = opening(ALICE, kind, *invited)
    assert await server.chains.open(alice_phone.actor, chain.signed) == Opened(CONVERSATION, made=True)
    return chain


async def say(server: Restored, chain: Chain, by: CastSigner, kind: type[s.Statement], *body: object) -> None:
    """State something, and have it stored."""
    chain.say(by, kind, *body)  # type: ignore[arg-type]
    assert isinstance(await server.chains.extend(by.device.actor, CONVERSATION, chain.signed[-1:]), Extended)


async def in_a_group(server: Restored) -> Chain:
    """A group of Alice and Bob."""
    chain = await begun(server, GROUP, bob)
    await say(server, chain, BOB, s.Accept, None)
    return chain


async def test_a_member_puts_back_what_others_signed(server: Restored) -> None:
    """Who was removed is removed again, who was invited is invited again by whom it was, under the same numbers."""
    chain = await in_a_group(server)
    server.back_up()
    await say(server, chain, ALICE, s.Invite, carol.profile, carol.account, Role.ADMIN)
    await say(server, chain, CAROL, s.Accept, None)
    await say(server, chain, ALICE, s.Remove, bob.profile)
    await say(server, chain, CAROL, s.Invite, mallory.profile, mallory.account, Role.MEMBER)
    server.restore()
    talk = server.memory.talks[CONVERSATION]
    before = talk.version
    assert await server.put_back(chain, by=alice_laptop) == Extended(tuple(range(1, 8)), before + 1, moved=True)
    assert server.bus.published == [
        MembershipChanged(CONVERSATION, before + 1),
        MessagesCommitted("api", CONVERSATION, 7),
    ]
    assert talk.membership == server.memory.talks[CONVERSATION].membership
    assert {each.number: each.signed for each, _ in talk.statements} == dict(enumerate(chain.signed))
    assert {profile for profile, row in talk.members.items() if row.accepted} == {alice.profile, carol.profile}
    assert talk.members[mallory.profile].inviter == carol.account
    # The messages of the log are of who brought them: the signers' devices have to be sent them.
    assert {talk.log[seq].device for seq in (4, 5, 6, 7)} == {alice_laptop.id}
    assert carol.profile in talk.signers
    assert await server.put_back(chain, by=alice_phone) == Extended(tuple(range(1, 8)), 0, moved=False)


async def test_a_conversation_that_is_lost_begins_again(server: Restored) -> None:
    """Whole, also a dm; it is the one of its two again. Versions of its roster are none that were given out before."""
    server.back_up()
    chain = await begun(server, DM, bob)
    await say(server, chain, BOB, s.Accept, None)
    lost_ms = server.restore()
    assert await server.put_back(chain, by=bob_laptop) == Extended((1, 2, 3), lost_ms, moved=True)
    assert server.memory.talks[CONVERSATION].version == lost_ms
    again = opening(BOB, DM, alice, conversation=OTHER)
    assert await server.chains.open(bob_phone.actor, again.signed) == Opened(CONVERSATION, made=False)


async def test_what_is_new_follows_what_was_put_back(server: Restored) -> None:
    """Several put back what each holds, and then the group goes on; nothing of before can follow that."""
    chain = await in_a_group(server)
    server.back_up()
    await say(server, chain, ALICE, s.Invite, carol.profile, carol.account, Role.MEMBER)
    await say(server, chain, CAROL, s.Accept, None)
    server.restore()
    first = Chain(chain.keys, CONVERSATION, signed=chain.signed[:4])
    assert isinstance(await server.put_back(first), Extended)
    assert isinstance(await server.put_back(chain), Extended)
    await say(server, chain, BOB, s.Leave)
    chain.say(CAROL, s.Leave)
    assert code_of(await server.put_back(chain, by=carol_phone)) is RefusalCode.STALE_CHAIN


async def test_a_chain_that_has_gone_on_takes_nothing_back(server: Restored) -> None:
    """Two histories: the first statement for a number wins, as ever, and who holds the other is told."""
    chain = await in_a_group(server)
    server.back_up()
    other = deepcopy(chain)
    await say(server, chain, ALICE, s.Invite, carol.profile, carol.account, Role.MEMBER)
    server.restore()
    await say(server, other, ALICE, s.ChangeRole, bob.profile, Role.ADMIN)
    assert code_of(await server.put_back(chain)) is RefusalCode.STALE_CHAIN
    other.say(BOB, s.Leave)
    assert code_of(await server.put_back(other)) is RefusalCode.STALE_CHAIN


async def test_nothing_is_put_back_without_a_loss(server: Restored) -> None:
    """Nor long after one: otherwise it would be a way around the newest device list at any time."""
    chain = await in_a_group(server)
    server.back_up()
    await say(server, chain, ALICE, s.ChangeRole, bob.profile, Role.ADMIN)
    server.restore(lost=False)
    assert code_of(await server.put_back(chain)) is RefusalCode.NOT_ALLOWED
    server.restore()
    server.clock.advance(WINDOW_MS)
    assert code_of(await server.put_back(chain)) is RefusalCode.NOT_ALLOWED


async def test_a_device_that_was_revoked_before_signs_nothing_lost(server: Restored) -> None:
    """The server took no statement that named an older list than it kept: so none of those is a lost one."""
    chain = await in_a_group(server)
    await revoke(server.stores, bob.account, bob_phone.id, server.clock())
    server.back_up()
    server.clock.advance(DAY)
    chain.say(BOB, s.Leave)
    server.restore()
    assert code_of(await server.put_back(chain, by=alice_phone)) is RefusalCode.STALE_CHAIN


async def test_an_outsider_puts_nothing_back_and_learns_nothing(server: Restored) -> None:
    """Whatever is shown, and whether or not there is such a conversation."""
    chain = await in_a_group(server)
    server.back_up()
    await say(server, chain, ALICE, s.ChangeRole, bob.profile, Role.ADMIN)
    server.restore()
    for signed in (chain.signed, chain.signed[:2], [b"x"], chain.signed[1:2]):
        outcome = await server.lost_statements.put_back(mallory_phone.actor, CONVERSATION, signed)
        assert code_of(outcome) is RefusalCode.NOT_FOUND
    elsewhere = await server.lost_statements.put_back(mallory_phone.actor, OTHER, chain.signed)
    assert code_of(elsewhere) is RefusalCode.NOT_FOUND
    assert code_of(await server.lost_statements.put_back(bob_phone.actor, OTHER, chain.signed)) is RefusalCode.NOT_FOUND


@pytest.mark.parametrize("what", ["forged", "unknown list", "nonsense"])
async def test_what_was_never_signed_is_refused(server: Restored, what: str) -> None:
    """Judged as the first time: by the signer's key, out of the list that the statement names."""
    chain = await in_a_group(server)
    server.back_up()
    lost_by = CastSigner(mallory_phone, alice.profile, alice.account, 2) if what == "forged" else ALICE
    lost_by = CastSigner(alice_phone, list_number=9) if what == "unknown list" else lost_by
    signed = b"x" if what == "nonsense" else chain.sign(lost_by, s.ChangeRole, bob.profile, Role.OWNER)
    server.restore()
    outcome = code_of(await server.lost_statements.put_back(bob_phone.actor, CONVERSATION, [signed]))
    assert outcome is (RefusalCode.NOT_FOUND if what == "unknown list" else RefusalCode.BAD_SIGNATURE)


async def test_a_session_without_a_device_puts_nothing_back(server: Restored) -> None:
    """A code from the mailbox alone states nothing, and brings nothing back either."""
    chain = await in_a_group(server)
    outcome = await server.lost_statements.put_back(replace(bob_phone.actor, device=None), CONVERSATION, chain.signed)
    assert code_of(outcome) is RefusalCode.NO_DEVICE


async def test_a_newcomer_puts_back_what_made_them_a_member(server: Restored) -> None:
    """By the chain with what they bring they are one, and the inviter's signature says so."""
    chain = await in_a_group(server)
    server.back_up()
    await say(server, chain, ALICE, s.Invite, carol.profile, carol.account, Role.MEMBER)
    await say(server, chain, CAROL, s.Accept, None)
    server.restore()
    assert isinstance(await server.put_back(chain, by=carol_phone), Extended)


async def test_all_who_come_back_at_once_put_back_the_same(server: Restored) -> None:
    """Who is slower finds it there, and is not told of a fork: statements, and the lists that they need."""
    chain = await in_a_group(server)
    server.back_up()
    await say(server, chain, ALICE, s.ChangeRole, bob.profile, Role.ADMIN)
    since = server.restore()
    signed = [each.signed for each in await server.stores.devices.lists(alice.account, 1, 9)]
    answers: list[object] = []

    async def put_back(by: CastDevice) -> None:
        answers.append(await server.put_back(chain, by=by))
        answers.append(await server.device_lists.put_back(alice.account, signed, {}, since))

    async with trio.open_nursery() as nursery:
        for by in (alice_phone, bob_phone, bob_laptop):
            nursery.start_soon(put_back, by)
    assert not any(isinstance(each, Refused) for each in answers)
    assert [each.signed for each, _ in server.memory.talks[CONVERSATION].statements] == chain.signed
