"""A server that lost what it had acked: everybody is told, and nothing is shown twice or hidden."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice_laptop, bob_phone, carol_phone
from tests.ids import id_of
from tests.varde.endpoints import endpoint
from tests.varde.memory_relay import ConversationClients, open_clients, texts
from varde.events import HistoryLost, Message, StoredEvent
from varde_contract.ids import ClientId, EpochId
from varde_contract.talk import ConversationKind

KINDS = pytest.mark.parametrize("kind", [ConversationKind.DM, ConversationKind.GROUP])


def shown(events: list[StoredEvent]) -> list[str]:
    """The texts that were handed out."""
    return [event.text for event in events if isinstance(event, Message)]


async def wait_until_stored(room: ConversationClients, client_ids: set[ClientId]) -> None:
    """Return when the relay has these messages, and everybody has heard of them."""
    for _ in range(300):
        if client_ids <= {each.frame.client_id for each in room.relay.log[room.talk.conversation]}:
            break
        await trio.sleep(1)  # of virtual time: between two looks
    await wait_all_tasks_blocked()


@KINDS
async def test_what_was_lost_is_sent_again(kind: ConversationKind, autojump_clock: MockClock) -> None:
    """Who had acked messages that a restored server lacks sends them again: who has them sees them once, all in all."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(kind, alice, bob) as room:
        conversation = room.talk.conversation
        await room[alice].send("kept")
        assert await texts(room.messages(bob), 1) == ["kept"]
        kept = len(room.relay.log[conversation])
        lost = [await room[alice].send(text) for text in ("one", "two")]
        answer = await room[bob].send("three")
        await wait_all_tasks_blocked()
        upto = room[bob].upto
        room.relay.restore({conversation: kept})
        await wait_until_stored(room, {each.client_id for each in (*lost, answer)})
        told = [HistoryLost(conversation, kept + 1, upto)]
        for who in (alice, bob):
            store = who.store
            events = [store.log.entry(position) for position in range(1, store.log.last_position() + 1)]
            stored = [entry.event for entry in events if entry is not None]
            assert [event for event in stored if isinstance(event, HistoryLost)] == told
            assert sorted(shown(stored)) == ["kept", "one", "three", "two"]
            assert next(iter(room[who].history())).text == "kept"
            assert not room[who].losses()
            assert room[who].upto == len(room.relay.log[conversation])


@KINDS
async def test_new_messages_under_old_numbers_are_read(kind: ConversationKind, autojump_clock: MockClock) -> None:
    """A number that this device had is given to another message: that one is shown, and confirmed only then."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(kind, alice, bob) as room:
        conversation = room.talk.conversation
        messages = room.messages(bob)
        await room[alice].send("kept")
        assert await texts(messages, 1) == ["kept"]
        kept = len(room.relay.log[conversation])
        await room[bob].send("mine, lost")
        await wait_all_tasks_blocked()
        room.relay.restore({conversation: kept})
        await room[alice].send("new")
        assert await texts(messages, 1) == ["new"]
        await wait_all_tasks_blocked()
        assert not room[bob].losses()
        assert sorted(each.text for each in room[alice].history()) == ["kept", "mine, lost", "new"]


async def test_an_ack_of_another_epoch_is_none(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API has heard of a loss and the relay has not: the number it gives is asked for again once the relay has."""
    monkeypatch.setattr("varde.crypto.keychain.DEVICES_PER_PART", 1)  # so that a key goes by the API
    alice, bob, carol = (endpoint(each) for each in (alice_laptop, bob_phone, carol_phone))
    async with open_clients(ConversationKind.GROUP, alice, bob, carol) as room, trio.open_nursery() as nursery:
        conversation = room.talk.conversation
        epoch = room.relay.epochs[0]
        room.relay.epochs.insert(0, (EpochId(id_of(100)), {conversation: 0}))
        nursery.start_soon(room[alice].send, "hei")
        await trio.sleep(60)  # of the mocked clock: it is sent again and again
        assert room.relay.by_rest[1:] == room.relay.by_rest[:-1]
        assert len(room.relay.by_rest) > 1
        assert not alice.store.own_numbers.has(conversation, 1)
        room.relay.epochs[1:] = [epoch]
        for each in (alice, bob, carol):
            room.relay.cut(each.id)
        assert await texts(room.messages(bob), 1) == ["hei"]
        assert alice.store.own_numbers.has(conversation, 1)


async def test_an_epoch_without_a_loss_is_no_event(autojump_clock: MockClock) -> None:
    """A standby that had everything was promoted: positions stay, nothing is told and nothing is sent."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        conversation = room.talk.conversation
        await room[alice].send("kept")
        assert await texts(room.messages(bob), 1) == ["kept"]
        head = len(room.relay.log[conversation])
        room.relay.restore({conversation: head})
        await wait_all_tasks_blocked()
        await room[alice].send("next")
        assert await texts(room.messages(bob), 1) == ["next"]
        assert len(room.relay.log[conversation]) == head + 1
        assert not list(bob.store.log.losses(conversation))
