"""The face of a client: conversations, members, contacts, and a server that says the wrong thing."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice, alice_laptop, alice_phone, bob, bob_phone, carol, carol_phone, dave, mallory
from tests.chains import Chain
from tests.varde.endpoints import Endpoint, SimulatedConversation, endpoint
from tests.varde.fake_rest import FakeRest
from tests.varde.memory_relay import ConversationClients, MemoryRelay, first, open_client, open_clients, texts
from varde.client import Client
from varde.conversation import Conversation
from varde.errors import NotAllowed, NotFound, Refusal, Unreachable, UntrustedDevice, VardeError
from varde.events import Withheld
from varde_contract import frames as f
from varde_contract.membership import Member
from varde_contract.membership_statements import Accept, Decline, Invite, parse_statement
from varde_contract.refusals import RefusalCode
from varde_contract.rest.people import ClaimedKeys, PrekeyClaim
from varde_contract.rest.talk import ChainHead, Conversations, ConversationSummary, ConversationView, NewStatements
from varde_contract.talk import ConversationKind, GapReason, Role


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


def relay_with(*talks: SimulatedConversation, strangers: Sequence[Endpoint] = ()) -> MemoryRelay:
    """A relay that knows of these people, too."""
    relay = MemoryRelay(*talks)
    relay.strangers = [*strangers]
    return relay


async def test_the_relay_may_be_faster_than_the_answer(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens a conversation has lost nothing in it, also when the relay tells her own statements first."""
    hers, relay = endpoint(alice_laptop), relay_with(strangers=(endpoint(bob_phone),))
    answer = FakeRest.open_conversation

    async def answer_late(rest: FakeRest, new: NewStatements) -> ConversationView:
        view = await answer(rest, new)
        own = [each.seq for each in (await rest.statements(view.conversation, 0)).statements]
        joined = f.Joined(view.conversation, own[0], own[-1], view.roster_version, 0, ())
        relay.deliver(hers.id, joined, f.Gap(view.conversation, own[0], own[-1], GapReason.OWN))
        await wait_all_tasks_blocked()
        return view

    monkeypatch.setattr(FakeRest, "open_conversation", answer_late)
    async with open_client(relay, hers) as client, trio.open_nursery() as nursery:
        nursery.start_soon(relay.run)
        await client.wait_connected()
        dm = await client.open_dm(bob.profile)
        assert dm.upto > 0
        assert not dm.losses()
        nursery.cancel_scope.cancel()


async def test_a_conversation_is_opened_as_asked(autojump_clock: MockClock) -> None:
    """Dm, group and notes are begun with the profiles that were named, who are invited."""
    hers = endpoint(alice_laptop)
    async with open_client(relay_with(strangers=(endpoint(bob_phone), endpoint(carol_phone))), hers) as client:
        dm = await client.open_dm(bob.profile)
        assert (dm.kind, dm.invited) == (ConversationKind.DM, (bob.profile,))
        assert {member.profile for member in dm.members} == {alice.profile}
        group = await client.open_group([bob.profile, carol.profile])
        assert (group.kind, set(group.invited)) == (ConversationKind.GROUP, {bob.profile, carol.profile})
        notes = await client.open_self()
        assert (notes.kind, notes.invited) == (ConversationKind.SELF, ())


async def test_another_conversation_than_the_one_asked_for_is_refused(autojump_clock: MockClock) -> None:
    """A server that opens a dm with another person, or something with room for more than two, is not believed."""
    hers, his, carols = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    for lie in (
        SimulatedConversation(ConversationKind.DM, hers, carols),
        SimulatedConversation(ConversationKind.GROUP, hers, his),
        SimulatedConversation(ConversationKind.SELF, hers),
    ):
        async with open_client(relay_with(lie, strangers=(his,)), hers) as client:
            answering(client, open_conversation=lie.view)
            with pytest.raises(UntrustedDevice):
                await client.open_dm(bob.profile)


async def test_who_does_not_know_the_own_newest_list_opens_all_the_same(autojump_clock: MockClock) -> None:
    """A device was added a moment ago: the creation is refused for the list it names, and signed again."""
    hers, his = endpoint(alice_laptop), endpoint(bob_phone)
    relay = relay_with(SimulatedConversation(ConversationKind.SELF, hers), strangers=(his,))
    async with open_client(relay, hers) as client:
        await wait_all_tasks_blocked()
        endpoint(alice_phone)
        rest: Any = client._services.rest
        honest, named = rest.open_conversation, []

        async def as_the_server_does(new: NewStatements) -> ConversationView:
            named.append(parse_statement(new.statements[0])[0].list_number)
            if named[-1] < len(hers.account.lists):
                raise Refusal.of(RefusalCode.STALE_CHAIN, "no")
            opened: ConversationView = await honest(new)
            return opened

        rest.open_conversation = as_the_server_does
        assert (await client.open_dm(bob.profile)).kind is ConversationKind.DM
        assert named == [1, 2]


async def test_who_asked_before_is_accepted_by_opening(autojump_clock: MockClock) -> None:
    """Both wanted the same dm: the one that is there is theirs, and both are in it."""
    hers, his = endpoint(alice_laptop), endpoint(bob_phone)
    asked = Chain(lambda _: his.listed.signing_key).create(his, ConversationKind.DM)
    asked.say(his, Invite, alice.profile, alice.account, Role.MEMBER)
    talk = SimulatedConversation.begun_by(his, asked.signed)
    async with open_client(MemoryRelay(talk), hers) as client:
        answering(client, open_conversation=talk.view)
        talk.endpoints.append(hers)
        talk.version += 1
        conversation = await client.open_dm(bob.profile)
        assert {member.profile for member in conversation.members} == {alice.profile, bob.profile}
        assert talk.chain.now.members[alice.profile].accepted


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
    """Inviting, promoting, removing and leaving are statements of this device, judged here before they are sent."""
    hers, his = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.GROUP, hers, his) as room:
        chain, room.relay.strangers = room.talk.chain, [endpoint(carol_phone)]
        await room[hers].invite(carol.profile, "admin")
        assert chain.now.members[carol.profile] == Member(carol.account, Role.ADMIN, accepted=False)
        assert room[hers].invited == (carol.profile,)
        await room[hers].set_role(bob.profile, Role.OWNER)
        assert chain.now.members[bob.profile].role is Role.OWNER
        room.talk.endpoints.remove(his)
        room.talk.version += 1
        await room[hers].remove(bob.profile)
        assert set(chain.now.members) == {alice.profile, carol.profile}
        with pytest.raises(Refusal):
            await room[hers].remove(bob.profile)
        await room[hers].leave()
        assert not chain.now.members


async def test_who_loses_against_another_statement_tries_once_more(autojump_clock: MockClock) -> None:
    """It reads what came first, and says the same of the membership as it is then."""
    hers, his = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.GROUP, hers, his) as room:
        room.relay.strangers = [endpoint(dave.devices[0]), endpoint(mallory.devices[0])]
        room.talk.chain.say(hers, Invite, carol.profile, carol.account, Role.MEMBER)
        await room[hers].invite(dave.profile)
        assert set(room[hers].invited) == {carol.profile, dave.profile}
        answering(room.clients[hers], append_statements=Refusal.of(RefusalCode.STALE_CHAIN, "again"))
        with pytest.raises(Refusal, match="stale-chain"):
            await room[hers].invite(mallory.profile)


async def test_an_older_membership_is_not_believed(autojump_clock: MockClock) -> None:
    """A server that shows the chain as it was before somebody was removed is refused, and so is another chain."""
    hers, his, carols = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    async with open_clients(ConversationKind.GROUP, hers, his, carols) as room:
        before = room.talk.view
        room.talk.remove(carols)
        room.relay.change(room.talk)
        await wait_all_tasks_blocked()
        assert len(room[hers].members) == 2
        answering(room.clients[hers], conversation=msgspec.structs.replace(before, roster_version=9))
        with pytest.raises(UntrustedDevice):
            await room[hers].refresh()
        now = room.talk.view
        assert now.chain is not None
        forked = msgspec.structs.replace(now, chain=ChainHead(now.chain.number, bytes(32)))
        answering(room.clients[hers], conversation=forked)
        with pytest.raises(UntrustedDevice):
            await room[hers].refresh()


async def test_who_is_proven_and_not_served_is_told(autojump_clock: MockClock) -> None:
    """A server may withhold service from somebody; that nothing reaches them is said."""
    hers, his, carols = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    async with open_clients(ConversationKind.GROUP, hers, his, carols) as room:
        events = room.clients[hers].events()
        view = room.talk.view
        served = msgspec.structs.replace(
            view,
            roster_version=2,
            members=tuple(each for each in view.members if each.profile != carol.profile),
            devices=tuple(each for each in view.devices if each.profiles != (carol.profile,)),
        )
        answering(room.clients[hers], conversation=served)
        await room[hers].refresh()
        assert await first(events, Withheld) == Withheld(room.talk.conversation, (), (carol.profile,))


async def test_a_message_to_who_has_not_accepted_waits(autojump_clock: MockClock) -> None:
    """Nothing is encrypted for the other one of a dm before they accept; when they declined it is refused."""
    hers, his = endpoint(alice_laptop), endpoint(bob_phone)
    for answer in (Accept, Decline):
        relay = relay_with(strangers=(his,))
        async with trio.open_nursery() as nursery, open_client(relay, hers) as client:
            nursery.start_soon(relay.run)
            conversation = await client.open_dm(bob.profile)
            (talk,) = relay.talks.values()
            nursery.start_soon(send_or_not, conversation)
            await wait_all_tasks_blocked()
            assert [draft.text for draft in conversation.outgoing()] == ["er du der?"]
            assert not relay.frames_of(f.Send)
            talk.endpoints.append(his)
            talk.version += 1
            talk.chain.say(his, answer, *([None] if answer is Accept else []))
            if answer is Accept:
                await conversation.refresh()
                assert {member.profile for member in conversation.members} == {alice.profile, bob.profile}
            nursery.cancel_scope.cancel()


async def send_or_not(conversation: Conversation) -> None:
    """Send, for as long as it takes."""
    await conversation.send("er du der?")


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
