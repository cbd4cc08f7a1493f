"""A group with more devices than one send can name: its keys travel in parts, and nobody is told of a loss."""

from collections.abc import Mapping

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice_laptop, bob_laptop, bob_phone, carol_phone, dave_phone
from tests.varde.endpoints import Endpoint, SimulatedConversation, endpoint
from tests.varde.fake_rest import FakeRest
from tests.varde.memory_relay import ConversationClients, open_client, open_clients, refused, texts
from varde.events import Break, Gap, Reason, TranscriptBroken, Undecryptable
from varde_contract import frames as f
from varde_contract.bodies import Empty, Text
from varde_contract.ids import DeviceId
from varde_contract.refusals import RefusalCode, StaleDevices
from varde_contract.rest.talk import MessageStored, NewMessage
from varde_contract.talk import ConversationKind, GapReason

GROUP = ConversationKind.GROUP


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One device in each part, where there is more than one."""
    monkeypatch.setattr("varde.crypto.keychain.DEVICES_PER_PART", 1)


def told(reader: Endpoint) -> list[object]:
    """What a reader was told is missing or wrong."""
    log = reader.store.log
    entries = (log.entry(position) for position in range(1, log.last_position() + 1))
    wrong = Gap | TranscriptBroken | Undecryptable
    return [entry.event for entry in entries if entry is not None and isinstance(entry.event, wrong)]


def sent_to(room: ConversationClients) -> list[set[DeviceId] | None]:
    """Whom each number of the conversation names; None for all."""
    log = room.relay.log[room.talk.conversation]
    return [set(each.frame.devices or ()) if each.part else None for each in log]


async def test_a_key_goes_in_parts(autojump_clock: MockClock) -> None:
    """One part for each device, then the message; everybody reads it, and whoever writes next is read too."""
    there = [endpoint(each) for each in (alice_laptop, bob_phone, carol_phone, dave_phone)]
    alice, *others = there
    async with open_clients(GROUP, *there) as room:
        assert (await room[alice].send("en")).seq == 4
        assert (await room[alice].send("to")).seq == 5
        assert (await room[others[0]].send("tre")).seq == 9
        assert await texts(room.messages(alice), 1) == ["tre"]
        assert await texts(room.messages(others[1]), 3) == ["en", "to", "tre"]
        assert sent_to(room) == [
            *({each.id} for each in sorted(others, key=lambda each: each.id)),
            *(None, None),
            *({each.id} for each in sorted({*there} - {others[0]}, key=lambda each: each.id)),
            None,
        ]
        await wait_all_tasks_blocked()
        assert [told(reader) for reader in there] == [[], [], [], []]
        assert len(room.relay.by_rest) == 6


async def test_a_newcomer_costs_one_part(autojump_clock: MockClock) -> None:
    """Who has the key is not given it again."""
    alice, bob, carol, dave = (endpoint(each) for each in (alice_laptop, bob_phone, carol_phone, dave_phone))
    async with open_clients(GROUP, alice, bob, carol) as room:
        await room[alice].send("før")
        room.talk.join(dave)
        room.relay.change(room.talk)
        room.relay.confirmed[room.talk.conversation, dave.id] = len(room.relay.log[room.talk.conversation])
        async with open_client(room.relay, dave) as client:
            await wait_all_tasks_blocked()
            await room[alice].send("etter")
            assert await texts(aiter(client.conversation(room.talk.conversation)), 1) == ["etter"]
        assert sent_to(room)[3:] == [{dave.id}, None]
        await wait_all_tasks_blocked()
        assert [told(reader) for reader in (bob, carol, dave)] == [[], [], []]


async def test_a_roster_that_moves_between_two_parts(autojump_clock: MockClock) -> None:
    """Who went is given nothing more, and a new key begins for all; who came has the one that the message needs."""
    alice, bob, carol, dave = (endpoint(each) for each in (alice_laptop, bob_phone, carol_phone, dave_phone))
    async with open_clients(GROUP, alice, bob, carol) as room:
        moves = iter((room.talk.join, room.talk.remove))

        def move(frame: f.Send) -> f.RefusedFrame | None:
            # After the first part dave comes, after the next one bob, who has the key by then, goes.
            if len(room.relay.log[room.talk.conversation]) in {1, 2} and (step := next(moves, None)) is not None:
                step(dave if step == room.talk.join else bob)
                return refused(frame, RefusalCode.STALE_DEVICES, stale=StaleDevices(room.talk.version))
            return None

        room.relay.refuse = move
        room.relay.confirmed[room.talk.conversation, dave.id] = 1
        await room[alice].send("hei")
        async with open_client(room.relay, dave) as client:
            assert await texts(aiter(client.conversation(room.talk.conversation)), 1) == ["hei"]
        assert await texts(room.messages(carol), 1) == ["hei"]
        await wait_all_tasks_blocked()
        assert next(moves, None) is None
        *parts, text = sent_to(room)
        assert text is None
        assert parts[-2:] == [{each.id} for each in sorted((carol, dave), key=lambda each: each.id)]
        assert [told(reader) for reader in (carol, dave)] == [[], []]


async def test_a_crash_between_two_parts(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second part is stored, and its sender dies before it hears so: the next process sends the same bytes."""
    there = [endpoint(each) for each in (alice_laptop, bob_phone, carol_phone, dave_phone)]
    alice, *others = there
    crash, send = trio.Event(), FakeRest.send

    async def send_and_crash(self: FakeRest, new: NewMessage) -> MessageStored:
        stored = await send(self, new)
        if stored.seq == 2 and not crash.is_set():
            crash.set()
            await trio.sleep_forever()
        return stored

    monkeypatch.setattr(FakeRest, "send", send_and_crash)
    async with open_clients(GROUP, *there, offline=(alice,)) as room:
        async with open_client(room.relay, alice) as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.conversation(room.talk.conversation).send, "hei")
            await crash.wait()
            nursery.cancel_scope.cancel()
        async with open_client(room.relay, alice):
            for reader in others:
                assert await texts(room.messages(reader), 1) == ["hei"]
        assert room.relay.by_rest[1] == room.relay.by_rest[2]
        assert sent_to(room) == [*({each.id} for each in sorted(others, key=lambda each: each.id)), None]
        assert [told(reader) for reader in others] == [[], [], []]


async def test_a_lost_ratchet_is_reset_for_its_pair_alone(autojump_clock: MockClock) -> None:
    """Bob loses his sessions: what he sends on a fresh one goes to the device that he could not read, and heals it."""
    alice, bob, carol = (endpoint(each) for each in (alice_laptop, bob_phone, carol_phone))
    async with open_clients(GROUP, alice, bob, carol) as room:
        await room[alice].send("en")
        await wait_all_tasks_blocked()
        with bob.store.transaction():
            bob.store._database.run("DELETE FROM olm_session")
            bob.store._database.run("DELETE FROM sender_key")
        refusals = [1]

        def refuse_once(frame: f.Send) -> f.RefusedFrame | None:
            # The first time, the roster has just moved: the reset is made again, for the same device.
            if frame.devices is None or not refusals:
                return None
            refusals.pop()
            room.talk.version += 1
            return refused(frame, RefusalCode.STALE_DEVICES, stale=StaleDevices(room.talk.version))

        room.relay.refuse = refuse_once
        await room[alice].send("tapt")
        await trio.sleep(1)  # of the mocked clock: the reset was tried again by then
        await wait_all_tasks_blocked()
        await room[alice].send("funnet")
        await wait_all_tasks_blocked()
        assert [each.text for each in room[bob].history()] == ["en", "funnet"]
        assert sent_to(room)[4:] == [
            {alice.id},
            *({each.id} for each in sorted((bob, carol), key=lambda e: e.id)),
            None,
        ]
        assert [each.reason for each in told(bob) if isinstance(each, Undecryptable)] == [Reason.NO_SESSION]
        assert [told(alice), told(carol)] == [[], []]


def group(*endpoints: Endpoint) -> SimulatedConversation:
    """A group whose devices have met."""
    talk = SimulatedConversation(GROUP, *endpoints)
    talk.verify_everywhere()
    return talk


def give_part(talk: SimulatedConversation, sender: Endpoint, to: Endpoint) -> dict[DeviceId, f.New]:
    """Send something to one device as a part."""
    draft = talk.draft(sender)
    with sender.store.transaction():
        sender.keychain.start_sessions(talk.view, talk.claim(sender.keychain.without_session(talk.view)))
        ready = sender.keychain.encrypt_for_each(talk.view, draft, Empty(), {to.id})
    return talk.commit(sender, draft, ready)


def breaks(reader: Endpoint, news: Mapping[DeviceId, f.New]) -> set[Break]:
    """What does not fit when the reader opens its copy."""
    with reader.store.transaction():
        return set(reader.keychain.open(news[reader.id]).breaks)


def not_for(reader: Endpoint, talk: SimulatedConversation, count: int = 1) -> None:
    """The server says of the newest numbers that they were not for the reader."""
    with reader.store.transaction():
        reader.store.conversations.advance(talk.conversation, talk.seq)
        reader.store.transcript.add_not_for_you(talk.conversation, count)


def test_only_the_sender_explains_what_was_for_others() -> None:
    """Parts that it names are not missed; a message that it did not name is, whatever the server says of it."""
    alice, bob, carol = (endpoint(each) for each in (alice_laptop, bob_phone, carol_phone))
    talk = group(alice, bob, carol)
    assert breaks(bob, talk.send_text(alice, "1")) == set()
    give_part(talk, alice, carol)
    not_for(bob, talk)
    assert breaks(bob, give_part(talk, alice, bob)) == set()
    give_part(talk, alice, carol)
    not_for(bob, talk)
    assert breaks(bob, talk.send_text(alice, "2")) == set()
    talk.send_text(alice, "withheld")
    not_for(bob, talk)
    assert breaks(bob, talk.send_text(alice, "4")) == {Break.DROPPED}


def test_a_message_among_the_parts_is_missed() -> None:
    """Between parts that were for others, a server cannot hide a message for all."""
    alice, bob, carol = (endpoint(each) for each in (alice_laptop, bob_phone, carol_phone))
    talk = group(alice, bob, carol)
    assert breaks(bob, talk.send_text(alice, "1")) == set()
    give_part(talk, alice, carol)
    talk.send_text(alice, "withheld")
    give_part(talk, alice, carol)
    not_for(bob, talk, 3)
    assert breaks(bob, talk.send_text(alice, "3")) == {Break.DROPPED}


def test_nobody_names_parts_as_seen() -> None:
    """Carol, who has her part, writes before Bob has his: he misses nothing, and what Alice says next fits too."""
    alice, bob, carol = (endpoint(each) for each in (alice_laptop, bob_phone, carol_phone))
    talk = group(alice, bob, carol)
    breaks(carol, give_part(talk, alice, carol))
    not_for(bob, talk)
    assert breaks(bob, talk.send_text(carol, "between")) == set()
    assert breaks(bob, give_part(talk, alice, bob)) == set()
    assert breaks(bob, talk.send_text(alice, "1")) == set()


def test_who_lost_the_message_that_named_parts_misses_only_that() -> None:
    """It was told as lost; with it went what it said of the parts before it. So it is with what others saw."""
    alice, bob, carol = (endpoint(each) for each in (alice_laptop, bob_phone, carol_phone))
    talk = group(alice, bob, carol)
    assert breaks(bob, talk.send_text(alice, "1")) == set()
    for _ in range(3):
        give_part(talk, alice, carol)
        not_for(bob, talk)
    breaks(carol, talk.send_text(alice, "expired for bob"))
    with bob.store.transaction():
        bob.store.log.add(Gap(talk.conversation, talk.seq, talk.seq, GapReason.EXPIRED))
    assert breaks(bob, talk.send_text(carol, "I have it")) == set()
    assert breaks(bob, talk.send_text(alice, "2")) == set()


def test_a_sender_that_calls_a_message_a_part_is_told_by_who_has_it() -> None:
    """In league with the server it could keep one reader without a message; everybody else tells."""
    alice, bob, carol = (endpoint(each) for each in (alice_laptop, bob_phone, carol_phone))
    talk = group(alice, bob, carol)
    assert breaks(carol, talk.send_text(alice, "not for bob")) == set()
    with alice.store.transaction():
        alice.store._database.run("UPDATE transcript SET part = 1")
    news = talk.send_text(alice, "for both")
    not_for(bob, talk)
    assert breaks(bob, news) == set()
    assert breaks(carol, news) == {Break.FORKED}


def test_a_small_group_is_sent_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many devices as one send can name are named in one; one more are not. A dm has no parts."""
    alice, *others = (endpoint(each) for each in (alice_laptop, bob_phone, bob_laptop, carol_phone))
    talk, dm = group(alice, *others), SimulatedConversation(ConversationKind.DM, alice, *others[:2])
    for limit, first_part in ((3, None), (2, 2)):
        monkeypatch.setattr("varde.crypto.keychain.DEVICES_PER_PART", limit)
        part = alice.keychain.part(talk.view, 0, reset=False)
        assert (None if part is None else len(part)) == first_part
        assert alice.keychain.part(dm.view, 0, reset=False) is None
    draft = talk.draft(alice)
    with alice.store.transaction():
        alice.keychain.start_sessions(talk.view, talk.claim(alice.keychain.without_session(talk.view)))
        assert not alice.keychain.encrypt_for_each(talk.view, draft, Text("x")).part
