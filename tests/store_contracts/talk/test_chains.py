"""The contract of the conversation store for chains: statements are numbered, kept for ever, and members follow."""

import trio
from msgspec.structs import replace

from domain.ports import Stores
from domain.talk import model as talk_model
from domain.talk.ports import ChainChange, NewRoster
from tests.cast import BIRTH_MS, Person, alice, alice_phone, bob, bob_phone, carol, set_profiles, settle
from tests.ids import id_of
from tests.store_contracts.messages import draft, held, page_of, send
from varde_contract.envelope import Cipher, SealedParts, join_sealed
from varde_contract.ids import ClientId, ConversationId, MessageId, ProfileId
from varde_contract.membership import Member
from varde_contract.talk import ConversationKind, Role

TALK, OTHER = ConversationId(id_of(71)), ConversationId(id_of(72))
PAIR = min(alice.profile, bob.profile), max(alice.profile, bob.profile)


def member(person: Person, *, accepted: bool = True, role: Role = Role.MEMBER) -> dict[ProfileId, Member]:
    """One member."""
    return {person.profile: Member(person.account, role, accepted)}


def statement(number: int, state: bytes | None = None) -> talk_model.NewStatement:
    """What a store sees of a statement of Alice's phone: it judges nothing."""
    return talk_model.NewStatement(
        signed=b"signed %d" % number,
        number=number,
        hash=bytes([number]) * 32,
        state=state,
        account=alice.account,
        signer=alice.profile,
        invited=bob.profile,
        profile=alice.profile,
        device=alice_phone.id,
        message=MessageId(id_of(1_000 + number)),
        client_id=ClientId(id_of(2_000 + number)),
        sent_ms=BIRTH_MS,
    )


def opening(kind: ConversationKind = ConversationKind.GROUP, conversation: ConversationId = TALK) -> NewRoster:
    """Alice begins, and invites Bob."""
    members = member(alice) | member(bob, accepted=False)
    pair = PAIR if kind is ConversationKind.DM else None
    return NewRoster(conversation, kind, members, pair, BIRTH_MS, (statement(0), statement(1)), b"state 1")


def change(number: int, *members: dict[ProfileId, Member], joining: Person | None = None) -> ChainChange:
    """The members after this statement."""
    after = {profile: each for some in members for profile, each in some.items()}
    accounts = frozenset() if joining is None else frozenset({joining.account})
    return ChainChange(TALK, number - 1, after, (statement(number),), b"state %d" % number, accounts, None)


async def test_who_is_invited_has_nothing(stores: Stores) -> None:
    """No place in the roster, no position, no list; the view and the invitations name them."""
    await settle(stores, alice, bob)
    assert await stores.conversations.open(opening()) == (TALK, True)
    roster = (await stores.conversations.rosters([TALK]))[TALK]
    assert (set(roster.members), set(roster.devices)) == ({alice.profile}, {each.id for each in alice.devices})
    assert await stores.conversations.list_for(bob_phone.id, None, 9) == []
    assert await stores.mailbox.read([talk_model.LogRequest(bob_phone.id, TALK, 1, 9, 999)]) == [None]
    view = await stores.conversations.view(TALK)
    assert view is not None
    assert (view.roster, view.invited) == (roster, {bob.profile: bob.account})
    assert view.chain == talk_model.ChainHead(1, bytes([1]) * 32)
    invited = [talk_model.Invitation(TALK, ConversationKind.GROUP, bob.profile)]
    assert await stores.conversations.invitations(bob_phone.id, 10) == invited
    assert await stores.conversations.invitations(alice_phone.id, 10) == []


async def test_an_invited_profiles_devices_move_no_roster(stores: Stores) -> None:
    """A stranger's invitation is nothing that a whitelist or a new device of the invited one touches."""
    await settle(stores, alice, bob)
    await stores.conversations.open(opening())
    assert await set_profiles(stores, bob.account, bob_phone.id, [bob.jobb.id], BIRTH_MS) == []
    assert await stores.conversations.invitations(bob_phone.id, 10) == []
    assert await stores.mailbox.mark_read([(TALK, bob.profile, 1)]) == []


async def test_statements_are_numbers_of_the_log(stores: Stores) -> None:
    """For everybody who has the number, and in the clear; what is sent comes before and after."""
    await settle(stores, alice, bob)
    await stores.conversations.open(opening())
    await stores.conversations.extend(change(2, member(alice), member(bob), joining=bob))
    await send(stores, draft(alice_phone, TALK, version=2))
    page = await page_of(stores, bob_phone, TALK)
    assert (page.start, page.head) == (3, 4)
    first = next(each for each in page.entries if each.seq == 3)
    assert first.ciphertext == join_sealed(SealedParts(Cipher.MEMBERSHIP, b"", b"signed 2"))
    assert (first.device, first.profile) == (alice_phone.id, alice.profile)
    assert await held(stores, bob_phone, TALK) == [3, 4]


async def test_a_change_holds_only_after_the_statement_it_follows(stores: Stores) -> None:
    """Otherwise nothing of it is stored."""
    await settle(stores, alice, bob, carol)
    await stores.conversations.open(opening())
    members = member(alice), member(bob)
    answer = await stores.conversations.extend(change(2, *members, joining=bob))
    assert answer == talk_model.Extended((3,), 2, moved=True)
    for number in (1, 2, 4):
        late = change(number, *members, member(carol, accepted=False))
        assert await stores.conversations.extend(replace(late, statements=(statement(9),))) is None
    assert await stores.conversations.membership(TALK) == b"state 2"
    invited = change(3, *members, member(carol, accepted=False))
    assert await stores.conversations.extend(invited) == talk_model.Extended((4,), 2, moved=False)
    promoted = change(4, member(alice), member(bob, role=Role.ADMIN), member(carol, accepted=False))
    assert await stores.conversations.extend(promoted) == talk_model.Extended((5,), 3, moved=True)
    without = change(5, member(alice), member(bob, role=Role.ADMIN))
    assert await stores.conversations.extend(without) == talk_model.Extended((6,), 3, moved=False)


async def test_of_two_statements_at_once_one_holds(nodes: tuple[Stores, Stores]) -> None:
    """However many are stored in the same moment, one takes each number."""
    await settle(nodes[0], alice, bob)
    await nodes[0].conversations.open(opening())
    answers: list[talk_model.Extended | None] = []

    async def extend(stores: Stores, number: int) -> None:
        new = replace(change(2, member(alice), member(bob), joining=bob), state=b"%d" % number)
        alone = replace(statement(2), client_id=ClientId(id_of(number)), message=MessageId(id_of(100 + number)))
        answers.append(await stores.conversations.extend(replace(new, statements=(alone,))))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(extend, nodes[number % 2], number)
    assert answers.count(None) == 5
    assert [each.number for each in await nodes[1].conversations.statements(TALK, 0, 9)] == [0, 1, 2]


async def test_who_is_removed_has_nothing_more(stores: Stores) -> None:
    """Not even the statement that says so; the others have it."""
    await settle(stores, alice, bob, carol)
    await stores.conversations.open(opening())
    await stores.conversations.extend(change(2, member(alice), member(bob), member(carol), joining=bob))
    answer = await stores.conversations.extend(change(3, member(alice), member(carol)))
    assert answer == talk_model.Extended((4,), 3, moved=True)
    assert await stores.mailbox.read([talk_model.LogRequest(bob_phone.id, TALK, 1, 9, 999)]) == [None]
    assert 4 in await held(stores, carol.devices[0], TALK)


async def test_statements_are_kept_for_ever(stores: Stores) -> None:
    """In order, from any number on, with the state of a snapshot; a sweep of messages does not touch them."""
    await settle(stores, alice, bob)
    await stores.conversations.open(opening())
    snapshot = replace(change(2, member(alice)), statements=(statement(2, state=b"state 1"),))
    await stores.conversations.extend(snapshot)
    await stores.retention.sweep(BIRTH_MS + 10**12, retention_ms=0, limit=99)
    stored = await stores.conversations.statements(TALK, 0, 9)
    assert stored == [
        talk_model.StoredStatement(0, 1, b"signed 0", None),
        talk_model.StoredStatement(1, 2, b"signed 1", None),
        talk_model.StoredStatement(2, 3, b"signed 2", b"state 1"),
    ]
    assert await stores.conversations.statements(TALK, 1, 1) == stored[1:2]
    assert await stores.conversations.statements(OTHER, 0, 9) == []
    assert await stores.conversations.membership(OTHER) is None


async def test_a_dm_that_is_over_makes_room_for_another(stores: Stores) -> None:
    """Its pair is free, and what it was stays where it is."""
    await settle(stores, alice, bob)
    again = replace(opening(ConversationKind.DM, OTHER), statements=(), state=b"")
    assert await stores.conversations.open(opening(ConversationKind.DM)) == (TALK, True)
    assert await stores.conversations.open(again) == (TALK, False)
    await stores.conversations.extend(replace(change(2, member(alice)), freed=PAIR))
    assert await stores.conversations.open(again) == (OTHER, True)


async def test_what_is_put_back_leaves_room_for_more(stores: Stores) -> None:
    """Something new was stated since the epoch began, or only what had been lost."""
    await settle(stores, alice, bob)
    assert not await stores.conversations.has_gone_on(TALK)
    lost = [replace(statement(number), put_back=True) for number in (0, 1)]
    assert await stores.conversations.open(replace(opening(), statements=lost, version=7)) == (TALK, True)
    assert (await stores.conversations.log_heads([TALK]))[TALK].roster_version == 7
    assert await stores.conversations.open(opening()) == (TALK, False)
    assert not await stores.conversations.has_gone_on(TALK)
    assert await stores.conversations.extend(change(2, member(alice), member(bob), joining=bob))
    assert await stores.conversations.has_gone_on(TALK)
