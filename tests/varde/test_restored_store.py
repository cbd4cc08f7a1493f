"""A home folder that was restored from a backup: nothing is encrypted with keys that were used already."""

import sqlite3

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice_laptop, bob_phone
from tests.varde.endpoints import Endpoint, endpoint
from tests.varde.memory_relay import first, open_client, open_clients, texts
from varde.crypto.keychain import Keychain, OwnDevice
from varde.errors import NotFound
from varde.events import Break, TranscriptBroken
from varde.store import Store
from varde.store.database import Database
from varde_contract import frames as f
from varde_contract.refusals import RefusalCode
from varde_contract.talk import ConversationKind


def backup_of(endpoint: Endpoint) -> Store:
    """A copy of the store as it is now."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    endpoint.store._database._connection.backup(copy)
    return Store(Database(copy), endpoint.store.settings._cipher)


def restore(endpoint: Endpoint, store: Store) -> None:
    """Bring an older store back in the place of the device's own."""
    endpoint.store = store
    endpoint.keychain = Keychain(store, OwnDevice(endpoint.person.account, endpoint.id))


@pytest.mark.parametrize("confirmed", [True, False], ids=["confirmed", "unconfirmed"])
@pytest.mark.parametrize("kind", [ConversationKind.DM, ConversationKind.GROUP])
async def test_what_a_restored_device_sends_is_read(
    autojump_clock: MockClock, kind: ConversationKind, *, confirmed: bool
) -> None:
    """Finding: the restored device used steps of its ratchets twice, and its messages were acked and lost to all."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(kind, alice, bob, offline=(alice,)) as room:
        conversation = room.talk.conversation
        async with open_client(room.relay, alice) as client:
            await client.conversation(conversation).send("1")
            await wait_all_tasks_blocked()
            backup, position = backup_of(alice), room.relay.confirmed[conversation, alice.id]
            for text in ("2", "3"):
                await client.conversation(conversation).send(text)
            await wait_all_tasks_blocked()
        room.relay.cut(alice.id)
        restore(alice, backup)
        if not confirmed:
            room.relay.confirmed[conversation, alice.id] = position
        async with open_client(room.relay, alice) as client:
            for text in ("4", "5"):  # the first one is written before the connection is there
                await client.conversation(conversation).send(text)
            own = await first(client.events(), TranscriptBroken)
        assert (own.device, own.why) == (alice.id, Break.RESTORED)
        assert await texts(room.messages(bob), 5) == ["1", "2", "3", "4", "5"]
        assert not room[bob].losses()
        told = [each for each in stored(bob.store) if isinstance(each, TranscriptBroken)]
        assert [each.why for each in told] == [Break.RESTORED]


def stored(store: Store) -> list[object]:
    """Every stored event."""
    found = (store.log.entry(position) for position in range(1, store.log.last_position() + 1))
    return [entry.event for entry in found if entry is not None]


async def test_nothing_is_sealed_before_the_backlog_is_in(autojump_clock: MockClock) -> None:
    """While the numbers up to the head are still on their way, a text waits unencrypted."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        await room[alice].send("to begin with")
        room.relay.drop = lambda frame: isinstance(frame, f.Joined)
        room.relay.cut(alice.id)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room[alice].send, "too early")
            await wait_all_tasks_blocked()
            (draft,) = alice.store.outbox.texts(room.talk.conversation)
            assert alice.store.outbox.encrypted(draft.client_id) is None
            room.relay.drop = lambda _: False
            room.relay.cut(alice.id)
        assert await texts(room.messages(bob), 2) == ["to begin with", "too early"]


async def test_a_lost_ack_is_no_lost_memory(autojump_clock: MockClock) -> None:
    """A message whose ack did not come is sent again as it was, and the device goes on as itself."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        room.relay.drop = lambda frame: isinstance(frame, f.Ack | f.Gap)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(room[alice].send, "1")
            await wait_all_tasks_blocked()
            room.relay.drop = lambda _: False
            room.relay.cut(alice.id)
        await room[alice].send("2")
        assert await texts(room.messages(bob), 2) == ["1", "2"]
        assert not any(isinstance(each, TranscriptBroken) for each in (*stored(alice.store), *stored(bob.store)))


async def test_who_is_no_member_any_more_is_told(autojump_clock: MockClock) -> None:
    """A conversation that the relay does not join is asked for: a send does not wait for ever."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        room.relay.drop = lambda frame: isinstance(frame, f.Joined)
        room.relay.cut(alice.id)
        await wait_all_tasks_blocked()
        room.relay.rest_error = NotFound(RefusalCode.NOT_FOUND, "You are not in it.")
        with pytest.raises(NotFound):
            await room[alice].send("hello?")
