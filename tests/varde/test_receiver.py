"""Receiving: in order, each exactly once, nothing lost in silence, whatever the relay does."""

from typing import cast

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice_laptop, bob_phone, carol_phone, mallory
from tests.varde.endpoints import Endpoint, endpoint
from tests.varde.memory_relay import ConversationClients, first, open_client, open_clients, texts
from varde.clock import fresh_id
from varde.errors import Unreachable
from varde.events import Gap, NotJoined, Reason, Receipt, Undecryptable, Unknown
from varde_contract import frames as f
from varde_contract.bodies import Body
from varde_contract.ids import ClientId
from varde_contract.refusals import RefusalCode
from varde_contract.talk import ConversationKind, GapReason


async def test_the_backlog_comes_in_order(autojump_clock: MockClock) -> None:
    """A device that was off gets everything that was said meanwhile, in order."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob, offline=(bob,)) as room:
        for number in range(30):
            await room[alice].send(str(number))
        async with open_client(room.relay, bob) as client:
            messages = aiter(client.conversation(room.talk.conversation))
            assert await texts(messages, 30) == [str(number) for number in range(30)]


async def test_what_a_newer_client_wrote_is_shown_as_such(autojump_clock: MockClock) -> None:
    """A body that this version does not know is an event of its own, not an attack, and what follows is read."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        draft = room.talk.draft(alice)
        poll = cast("Body", msgspec.Raw(msgspec.msgpack.encode(["poll", "when?"])))
        ready = room.talk.encrypt_for_each(alice, draft, poll)
        frame = f.Send(draft.client_id, draft.conversation, draft.profile, 1, devices=ready.devices)
        room.relay.handle(alice.id, frame)
        await room[alice].send("Thursday")
        unknown = await first(room.clients[bob].events(), Unknown)
        assert (unknown.seq, unknown.client_id, unknown.profile) == (1, draft.client_id, alice.person.profile)
        assert await texts(room.messages(bob), 1) == ["Thursday"]
        assert not room[bob].losses()


async def test_a_refusal_to_join_is_told(autojump_clock: MockClock) -> None:
    """Whoever is not brought what is said must not believe that nothing is."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        for conversation in (None, room.talk.conversation):
            refusal = f.RefusedFrame(f.tag_of(f.Join), conversation, RefusalCode.TOO_MANY, "full", None, None)
            room.relay.deliver(bob.id, refusal)
            assert await first(room.clients[bob].events(), NotJoined) == NotJoined(conversation, "too-many", "full")


async def test_where_there_are_too_many_what_is_talked_in_is_joined_first(autojump_clock: MockClock) -> None:
    """The relay joins the newest first, up to a limit; an old conversation in daily use must be among them."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        await room[alice].send("hei")
        assert await texts(room.messages(bob), 1) == ["hei"]
        for more, joins in ((True, [f.Join(room.talk.conversation), f.Join()]), (False, [f.Join()])):
            room.relay.more = more
            room.relay.received.clear()
            room.relay.cut(bob.id)
            await wait_all_tasks_blocked()
            assert [frame for device, frame in room.relay.received if device == bob.id][: len(joins)] == joins


async def test_what_was_taken_in_is_confirmed(autojump_clock: MockClock) -> None:
    """The relay hears of a position only after it was kept, and hears of the newest."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        await room[alice].send("en")
        await room[alice].send("to")
        await wait_all_tasks_blocked()
        assert room.relay.confirmed[room.talk.conversation, bob.id] == 2
        assert room[bob].upto == 2


async def test_a_hole_is_asked_for(autojump_clock: MockClock) -> None:
    """A number that did not come is noticed by the next one, asked for once, and everything is read in order."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        room.relay.drop = lambda frame: isinstance(frame, f.New) and frame.seq in (2, 3)
        for number in range(1, 4):
            await room[alice].send(str(number))
        room.relay.drop = lambda _: False
        await room[alice].send("4")
        assert await texts(room.messages(bob), 4) == ["1", "2", "3", "4"]
        assert [each.from_seq for each in room.relay.frames_of(f.Sync) if isinstance(each, f.Sync)] == [2]


async def test_a_refused_question_is_asked_again(autojump_clock: MockClock) -> None:
    """When the relay is too busy for a `sync`, the hole is asked for a little later."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        await room[alice].send("1")
        log = room.relay.log[room.talk.conversation]
        kept = log.copy()
        room.relay.drop = lambda frame: isinstance(frame, f.New)
        await room[alice].send("2")
        room.relay.drop = lambda _: False
        await wait_all_tasks_blocked()
        log[:] = []  # it cannot answer just now
        room.relay.deliver(bob.id, f.Gap(room.talk.conversation, 3, 3, GapReason.OWN))
        await wait_all_tasks_blocked()
        log[:] = [*kept, *log]
        about = f.RefusedFrame("sync", room.talk.conversation, RefusalCode.TOO_MANY, "no", retry_after_ms=700)
        room.relay.deliver(bob.id, about)
        await trio.sleep(1)  # in virtual time: longer than the relay asked for
        assert len(room.relay.frames_of(f.Sync)) == 2


@pytest.mark.parametrize("why", [GapReason.EXPIRED, GapReason.DELIVERED, GapReason.BEFORE_YOU])
async def test_a_gap_is_shown(autojump_clock: MockClock, why: GapReason) -> None:
    """What can no longer be had is told and counted, and what comes after it is read."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        events = room.clients[bob].events()
        for number in range(3):
            await room[alice].send(str(number))
        gap = f.Gap(room.talk.conversation, 4, 9, why)
        room.relay.deliver(bob.id, gap, gap)
        assert await first(events, Gap) == Gap(room.talk.conversation, 4, 9, why)
        assert room[bob].upto == 9
        assert list(room[bob].losses()) == [Gap(room.talk.conversation, 4, 9, why)]


async def test_own_numbers_are_no_gap(autojump_clock: MockClock) -> None:
    """A number this device sent itself is passed over without a word."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        await room[alice].send("mitt")
        await wait_all_tasks_blocked()
        assert room[alice].upto == 1
        assert not room[alice].losses()


async def test_an_unknown_sender_is_looked_up_first(autojump_clock: MockClock) -> None:
    """A message from a device never met waits for its certificate, also while the API is away, and is then read."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob, offline=(bob,)) as room:
        await room[alice].send("hvem er jeg?")
        await room[alice].send("alice")
        room.relay.rest_error = Unreachable("away")
        async with open_client(room.relay, bob) as client:
            await trio.sleep(100)  # in virtual time: many tries at an API that is away
            assert client.conversation(room.talk.conversation).upto == 0
            room.relay.rest_error = None
            messages = aiter(client.conversation(room.talk.conversation))
            assert await texts(messages, 2) == ["hvem er jeg?", "alice"]


async def test_a_look_up_outlives_its_connection(autojump_clock: MockClock) -> None:
    """A message that comes again over a new connection, while its sender is still looked up, is not judged yet."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob, offline=(bob,)) as room:
        await room[alice].send("hvem er jeg?")
        room.relay.rest_error = Unreachable("away")
        async with open_client(room.relay, bob) as client:
            await trio.sleep(100)  # in virtual time: many tries at an API that is away
            room.relay.cut(bob.id)
            await trio.sleep(100)
            assert client.conversation(room.talk.conversation).upto == 0
            room.relay.rest_error = None
            assert await texts(aiter(client.conversation(room.talk.conversation)), 1) == ["hvem er jeg?"]


async def test_who_cannot_be_looked_up_is_not_read(autojump_clock: MockClock) -> None:
    """A message of a device that the roster does not name is shown as such, and the next ones are read."""
    alice, bob, ghost = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        await room[alice].send("ekte")
        await wait_all_tasks_blocked()
        new = msgspec.structs.replace(room.talk.new(ghost, room.talk.draft(ghost), b"\x01\x02x"), seq=2)
        for _ in range(2):  # live, and again when it was asked for after the look-up
            room.relay.deliver(bob.id, new)
            await wait_all_tasks_blocked()
        closed = await first(room.clients[bob].events(), Undecryptable)
        assert closed == Undecryptable(room.talk.conversation, 2, Reason.UNKNOWN_SENDER)


async def test_a_changed_root_key_is_a_reason(autojump_clock: MockClock) -> None:
    """A first message from an account whose root key is not the pinned one is closed for that reason."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob, offline=(bob,)) as room:
        bob.learn(alice.account)
        alice.account.forge(mallory.root)
        await room[alice].send("en annen alice?")
        async with open_client(room.relay, bob) as client:
            closed = await first(client.events(), Undecryptable)
        assert closed.reason is Reason.ROOT_KEY_CHANGED


async def sent_message(room: ConversationClients, sender: Endpoint, text: str) -> f.New:
    """A message as the relay gave it to bob, and bob has read it."""
    stored = await room[sender].send(text)
    entry = room.relay.log[room.talk.conversation][stored.seq - 1]
    (bob,) = (endpoint for endpoint in room.clients if endpoint is not sender)
    frame = room.relay._as_seen_by(bob.id, entry)
    assert isinstance(frame, f.New)
    return frame


@pytest.mark.parametrize("kind", [ConversationKind.DM, ConversationKind.GROUP])
@pytest.mark.parametrize("fresh_client_id", [True, False])
async def test_a_replay_is_shown_as_such(
    autojump_clock: MockClock, kind: ConversationKind, *, fresh_client_id: bool
) -> None:
    """A relay that gives out a message again under a new number shows nothing twice."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(kind, alice, bob) as room:
        new = await sent_message(room, alice, "en gang")
        client_id = ClientId(fresh_id()) if fresh_client_id else new.client_id
        room.relay.deliver(bob.id, msgspec.structs.replace(new, seq=new.seq + 1, client_id=client_id))
        closed = await first(room.clients[bob].events(), Undecryptable)
        assert closed.seq == new.seq + 1
        assert [each.text for each in room[bob].history()] == ["en gang"]


async def test_the_same_number_again_is_nothing_new(autojump_clock: MockClock) -> None:
    """After a reconnect a relay may repeat numbers: they are passed over."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        new = await sent_message(room, alice, "en gang")
        room.relay.deliver(bob.id, new, new)
        room.relay.confirmed[room.talk.conversation, bob.id] = 0
        room.relay.cut(bob.id)
        await room[alice].send("to ganger")
        assert await texts(room.messages(bob), 2) == ["en gang", "to ganger"]
        assert not room[bob].losses()


async def test_a_lost_ratchet_mends_itself(autojump_clock: MockClock) -> None:
    """A device whose ratchets are gone says so by itself; one message is shown as lost, the next is read."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.GROUP, alice, bob) as room:
        await room[alice].send("før")
        await wait_all_tasks_blocked()
        with bob.store.transaction():
            bob.store._database.run("DELETE FROM olm_session")
            bob.store._database.run("DELETE FROM sender_key")
        await room[alice].send("tapt")
        await wait_all_tasks_blocked()
        await room[alice].send("funnet")
        messages = room.messages(bob)
        assert await texts(messages, 2) == ["før", "funnet"]
        assert [loss.reason for loss in room[bob].losses() if isinstance(loss, Undecryptable)] == [Reason.NO_SESSION]


async def test_receipts_are_told(autojump_clock: MockClock) -> None:
    """That others hold or have read is told once for each step forward, and kept."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        events = room.clients[alice].events()
        await room[alice].send("lest?")
        await wait_all_tasks_blocked()
        profile, conversation = bob.person.profile, room.talk.conversation
        room.relay.deliver(alice.id, *[f.DeliveredBy(conversation, profile, 1)] * 2)
        assert await first(events, Receipt) == Receipt(conversation, profile, 1, read=False)
        await room[bob].read(1)
        assert await first(events, Receipt) == Receipt(conversation, profile, 1, read=True)
        assert room[alice].receipts == {profile: (1, 1)}


async def test_reading_is_told_when_there_is_a_connection(autojump_clock: MockClock) -> None:
    """A read position that the relay has not confirmed is said again after a reconnect."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        await room[alice].send("les")
        await wait_all_tasks_blocked()
        room.relay.drop = lambda frame: isinstance(frame, f.ReadBy)
        await room[bob].read(1)
        await wait_all_tasks_blocked()
        room.relay.drop = lambda _: False
        room.relay.cut(bob.id)
        await wait_all_tasks_blocked()
        room.relay.cut(bob.id)
        await wait_all_tasks_blocked()
        assert len(room.relay.frames_of(f.Read)) == 2


async def test_a_conversation_of_before_is_asked_about(autojump_clock: MockClock) -> None:
    """A store from a backup learns which numbers it cannot have any more."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        await room[alice].send("en")
        await wait_all_tasks_blocked()
        room.relay.deliver(bob.id, f.Joined(room.talk.conversation, 5, 4, 1, 0))
        await wait_all_tasks_blocked()
        assert [each.from_seq for each in room.relay.frames_of(f.Sync) if isinstance(each, f.Sync)] == [2]


@pytest.mark.parametrize("code", [RefusalCode.UNAVAILABLE, RefusalCode.OVERLOADED, RefusalCode.RATE_LIMITED])
@pytest.mark.parametrize("kind", [f.Join, f.Delivered, f.Read])
async def test_what_the_relay_cannot_do_now_is_said_again(
    autojump_clock: MockClock, kind: type[f.Join | f.Delivered | f.Read], code: RefusalCode
) -> None:
    """A join or a receipt that is refused for a while is not forgotten."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        await room[alice].send("hei")
        await wait_all_tasks_blocked()
        room.relay.drop = lambda frame: isinstance(frame, f.ReadBy)
        await room[bob].read(1)
        await wait_all_tasks_blocked()
        before = len(room.relay.frames_of(kind))
        subject = None if kind is f.Join else room.talk.conversation
        room.relay.deliver(bob.id, f.RefusedFrame(f.tag_of(kind), subject, code, "no", retry_after_ms=3_000))
        await trio.sleep(4)  # in virtual time: longer than the relay asked for
        assert len(room.relay.frames_of(kind)) == before + 1


async def test_a_hole_that_cannot_be_filled_is_left(autojump_clock: MockClock) -> None:
    """Who is no member any more does not ask for ever."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        room.relay.deliver(bob.id, f.Gap(room.talk.conversation, 7, 7, GapReason.OWN))
        await wait_all_tasks_blocked()
        about = f.RefusedFrame("sync", room.talk.conversation, RefusalCode.NOT_FOUND, "no")
        room.relay.deliver(bob.id, about)
        await trio.sleep(100)  # in virtual time: many chances to ask again
        assert len(room.relay.frames_of(f.Sync)) == 1
