"""The face of a client: conversations, members, contacts, and a server that says the wrong thing."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice, alice_laptop, bob, bob_phone, carol, carol_phone, mallory
from tests.varde.endpoints import SimulatedConversation, endpoint
from tests.varde.memory_relay import ConversationClients, MemoryRelay, open_client, open_clients, texts
from varde.client import Client
from varde.errors import NotAllowed, NotFound, Refusal, Unreachable, UntrustedDevice, VardeError
from varde_contract import frames as f
from varde_contract.refusals import RefusalCode
from varde_contract.rest.people import ClaimedKeys, PrekeyClaim
from varde_contract.rest.talk import Conversations, ConversationSummary, MemberRole, NewConversation, NewMember
from varde_contract.talk import ConversationKind, Role


def answering(client: Client, **calls: object) -> Any:
    """Let the API answer these calls so."""
    rest: Any = client._services.rest
    for name, answer in calls.items():

        async def call(*asked: object, answer: Any = answer) -> object:
            await trio.lowlevel.checkpoint()
            rest.asked.append(asked)
            if isinstance(answer, Exception):
                raise answer
            return answer

        setattr(rest, name, call)
    rest.asked = []
    return rest


async def test_a_conversation_is_opened_as_asked(autojump_clock: MockClock) -> None:
    """Dm, group and notes are opened with the profiles that were named, and known from then on."""
    hers, his, carols = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    dm, group = (
        SimulatedConversation(ConversationKind.DM, hers, his),
        SimulatedConversation(ConversationKind.GROUP, hers, his, carols),
    )
    notes = SimulatedConversation(ConversationKind.SELF, hers)
    hers.learn(*group.accounts)
    async with open_client(MemoryRelay(), hers) as client:
        rest = answering(client, open_conversation=dm.view)
        opened = await client.open_dm(bob.profile)
        assert rest.asked == [(NewConversation(ConversationKind.DM, alice.profile, (bob.profile,)),)]
        assert (opened.id, opened.kind) == (dm.conversation, ConversationKind.DM)
        assert {member.profile for member in opened.members} == {alice.profile, bob.profile}
        answering(client, open_conversation=group.view)
        assert (await client.open_group([bob.profile, carol.profile])).kind is ConversationKind.GROUP
        answering(client, open_conversation=notes.view)
        assert (await client.open_self()).kind is ConversationKind.SELF


async def test_a_conversation_with_somebody_else_is_refused(autojump_clock: MockClock) -> None:
    """A server that opens a dm with another person than the one asked for is not believed."""
    hers, his = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_client(MemoryRelay(), hers) as client:
        answering(client, open_conversation=SimulatedConversation(ConversationKind.DM, hers, his).view)
        with pytest.raises(UntrustedDevice):
            await client.open_dm(mallory.profile)
        with pytest.raises(UntrustedDevice):
            await client.open_group([bob.profile, mallory.profile])
        with pytest.raises(UntrustedDevice):
            await client.open_self()


async def test_one_speaks_as_oneself(autojump_clock: MockClock) -> None:
    """A profile of somebody else, or one that is no member, is refused before anything is sent."""
    hers, his = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, hers, his) as room:
        with pytest.raises(NotAllowed):
            await room[hers].send("hei", as_profile=bob.profile)
        with pytest.raises(NotAllowed):
            await room.clients[hers].open_dm(carol.profile, as_profile=bob.profile)
        assert not room.relay.frames_of(f.Send)


async def test_members_come_and_go(autojump_clock: MockClock) -> None:
    """Adding, promoting, removing and leaving are calls in the name of this device's profile."""
    hers, his = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.GROUP, hers, his) as room:
        rest = answering(room.clients[hers], add_member=room.talk.view, set_role=room.talk.view, remove_member=None)
        await room[hers].add(carol.profile, "admin")
        await room[hers].set_role(bob.profile, Role.OWNER)
        await room[hers].remove(bob.profile)
        await room[hers].leave()
        group = room.talk.conversation
        assert rest.asked == [
            (group, NewMember(carol.profile, alice.profile, Role.ADMIN)),
            (group, bob.profile, MemberRole(Role.OWNER, alice.profile)),
            (group, bob.profile, alice.profile),
            (group, alice.profile, alice.profile),
        ]


async def test_the_list_is_what_the_api_has_or_what_is_known(autojump_clock: MockClock) -> None:
    """Conversations are fetched page by page; with the API away, those in the store are listed."""
    hers, his, carols = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    talks = [
        SimulatedConversation(ConversationKind.DM, hers, his),
        SimulatedConversation(ConversationKind.GROUP, hers, carols),
    ]
    relay = MemoryRelay()
    async with open_client(relay, hers) as client:
        relay.talks = {talk.conversation: talk for talk in talks}
        one, other = (_row(talk) for talk in talks)
        pages = iter([Conversations((one,), one.conversation), Conversations((other,), None)])
        rest = answering(client)

        async def conversations(after: object) -> Conversations:
            await trio.lowlevel.checkpoint()
            rest.asked.append(after)
            return next(pages)

        rest.conversations = conversations
        listed = await client.conversations()
        assert [each.id for each in listed] == sorted(talk.conversation for talk in talks)
        assert rest.asked == [None, talks[0].conversation]
        answering(client, conversations=Unreachable("away"))
        assert [each.id for each in await client.conversations()] == [each.id for each in listed]


def _row(talk: SimulatedConversation) -> ConversationSummary:
    return ConversationSummary(talk.conversation, talk.kind, (alice.profile,), 0, 0, talk.version)


async def test_what_is_shown_goes_out_at_once_or_not(autojump_clock: MockClock) -> None:
    """Typing and presence are said to the relay as they are."""
    hers, his = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, hers, his) as room:
        room[hers].typing(True)
        room.clients[hers].presence("away")
        await wait_all_tasks_blocked()
        assert room.relay.frames_of(f.Typing) == [f.Typing(room.talk.conversation, alice.profile, active=True)]
        assert room.relay.frames_of(f.Presence) == [f.Presence(alice.profile, f.PresenceState.AWAY)]


async def test_numbers_to_compare(autojump_clock: MockClock) -> None:
    """Both sides show the same safety number; for somebody never met there is none."""
    hers, his = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, hers, his) as room:
        one, other = room.clients[hers], room.clients[his]
        assert one.safety_number(bob.account) == other.safety_number(alice.account)
        with pytest.raises(NotFound):
            one.safety_number(carol.account)


async def test_a_contact_stays_here(autojump_clock: MockClock) -> None:
    """Nicknames are kept in the store and said to nobody."""
    hers = endpoint(alice_laptop)
    relay = MemoryRelay(SimulatedConversation(ConversationKind.SELF, hers))
    async with open_client(relay, hers) as client:
        client.contacts.add("bestemor", bob.profile)
        assert client.contacts.profile_of("bestemor") == bob.profile
    async with open_client(relay, hers) as client:
        assert client.contacts.name_of(bob.profile) == "bestemor"


async def test_an_unknown_conversation_says_so(autojump_clock: MockClock) -> None:
    """Before its roster was fetched a conversation has neither members nor kind, and says what to do."""
    hers = endpoint(alice_laptop)
    async with open_client(MemoryRelay(), hers) as client:
        unknown = client.conversation(SimulatedConversation(ConversationKind.DM, hers).conversation)
        with pytest.raises(VardeError, match="roster"):
            _ = unknown.members
        assert (unknown.upto, unknown.read_upto, list(unknown.history()), list(unknown.losses())) == (0, 0, [], [])


def stale(room: ConversationClients, claim: PrekeyClaim) -> ClaimedKeys:
    """The roster moved between the roster and the claim."""
    raise Refusal(RefusalCode.STALE_DEVICES, "moved")


def away(room: ConversationClients, claim: PrekeyClaim) -> ClaimedKeys:
    """The API is away for a moment."""
    raise Unreachable("away")


@pytest.mark.parametrize("fault", [stale, away])
async def test_a_claim_that_fails_is_made_again(
    autojump_clock: MockClock, fault: Callable[[ConversationClients, PrekeyClaim], ClaimedKeys]
) -> None:
    """A first message waits for prekeys, however the first tries to get them end."""
    hers, his = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, hers, his) as room:
        rest: Any = room.clients[hers]._services.rest
        honest, tries = rest.claim_prekeys, iter(range(9))

        async def claim(asked: PrekeyClaim) -> ClaimedKeys:
            return fault(room, asked) if next(tries) < 3 else await honest(asked)

        rest.claim_prekeys = claim
        await room[hers].send("endelig")
        assert await texts(room.messages(his), 1) == ["endelig"]


async def test_a_prekey_of_a_stranger_is_refused(autojump_clock: MockClock) -> None:
    """A directory that hands out a key of a device that is not in the roster is not believed, and nothing is sent."""
    hers, his, carols = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    async with open_clients(ConversationKind.DM, hers, his) as room:
        stranger = SimulatedConversation(ConversationKind.DM, carols).claim([carols.id])
        answering(room.clients[hers], claim_prekeys=stranger)
        with pytest.raises(UntrustedDevice):
            await room[hers].send("til hvem?")
        assert not room.relay.frames_of(f.Send)


async def test_an_older_roster_changes_nothing(autojump_clock: MockClock) -> None:
    """A server that says again what was once is not followed back."""
    hers, his, carols = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    async with open_clients(ConversationKind.GROUP, hers, his) as room:
        old = room.talk.view
        room.talk.join(carols)
        room.relay.change(room.talk)
        await wait_all_tasks_blocked()
        kept = await room.clients[hers]._services.rosters.accept(msgspec.structs.replace(old))
        assert kept.roster_version == 2
        assert len(room[hers].members) == 3


async def test_the_roster_of_another_conversation_is_no_answer(autojump_clock: MockClock) -> None:
    """A server that shows a group's true roster for a dm gets nothing that the group's members could open."""
    hers, his, carols = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    dm, group = (
        SimulatedConversation(ConversationKind.DM, hers, his),
        SimulatedConversation(ConversationKind.GROUP, hers, his, carols),
    )
    relay = MemoryRelay(dm, group)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.run)
        async with open_client(relay, hers) as client:
            await client.conversation(group.conversation).send("til alle")
            before = len(relay.frames_of(f.Send))
            dm.version += 1
            answering(client, conversation=group.view)
            relay.change(dm)
            await wait_all_tasks_blocked()
            with pytest.raises(UntrustedDevice):
                await client.conversation(dm.conversation).send("bare til bob")
            assert len(relay.frames_of(f.Send)) == before
        nursery.cancel_scope.cancel()


async def test_a_dm_that_is_called_a_group_is_refused(autojump_clock: MockClock) -> None:
    """A server cannot open something with room for more members than the two of a dm."""
    hers, his = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, hers, offline=()) as room:
        client = room.clients[hers]
        answering(client, open_conversation=SimulatedConversation(ConversationKind.GROUP, hers, his).view)
        with pytest.raises(UntrustedDevice):
            await client.open_dm(bob.profile)
