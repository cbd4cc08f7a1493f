"""A client killed at any line goes on: nothing lost, nothing twice, the same bytes again."""

from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice_laptop, bob_phone
from tests.varde.crash_points import crash_at, is_crash
from tests.varde.endpoints import Endpoint, SimulatedConversation, endpoint
from tests.varde.memory_relay import MemoryRelay, open_client
from varde.client import Client
from varde.crypto.keychain import Keychain, OwnDevice
from varde.store import KeyFile, Store, open_store
from varde.store.database import Connect, connect_file
from varde_contract import frames as f
from varde_contract.ids import ClientId
from varde_contract.talk import ConversationKind

TEXTS = ["en", "to", "tre"]


async def settle_in(home: Path, someone: Endpoint) -> None:
    """Move a party's keys into a store on disk."""
    settings = someone.store.settings
    async with open_store(home, KeyFile(home / "key"), make=True) as store:
        with store.transaction():
            for name in ("olm-account",):
                store.settings.put(name, settings.find(name, str))
            for kem_id, fallback in someone.store._database.rows("SELECT kem_id, fallback FROM kem_prekey"):
                private = someone.store.kem_prekeys.find(kem_id)
                assert private is not None
                store.kem_prekeys.add(kem_id, private, fallback=bool(fallback))


async def live(
    home: Path, someone: Endpoint, relay: MemoryRelay, connect: Connect, story: Callable[[Client], Awaitable[None]]
) -> bool:
    """One process of a client. False when it was killed."""
    try:
        async with open_store(home, KeyFile(home / "key"), connect=connect) as store:
            someone.store = store
            someone.keychain = Keychain(store, OwnDevice(someone.person.account, someone.id))
            async with open_client(relay, someone) as client:
                await story(client)
    except BaseException as fault:
        if not is_crash(fault):
            raise
        relay.cut(someone.id)
        return False
    return True


async def deliver(client: Client, talk: SimulatedConversation, store: Store) -> None:
    """Send every text that this device does not know to have been written."""
    conversation = client.conversation(talk.conversation)
    for text in TEXTS:
        known = {each.text for each in conversation.history()} | {each.text for each in conversation.outgoing()}
        if text not in known:
            await conversation.send(text)
    while store.outbox.conversations():  # noqa: ASYNC110 - in virtual time: what an earlier life left is going out
        await trio.sleep(0.1)


@pytest.mark.parametrize("kind", [ConversationKind.DM, ConversationKind.GROUP])
async def test_a_sender_killed_anywhere_goes_on(
    scratch: Path, autojump_clock: MockClock, kind: ConversationKind
) -> None:
    """Killed before or after any statement, every text arrives once and in order, and no bytes go twice changed."""
    for point in count():
        alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
        talk = SimulatedConversation(kind, alice, bob)
        relay = MemoryRelay(talk)
        home = scratch / str(point)
        await settle_in(home, alice)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            async with open_client(relay, bob) as reader:
                story = lambda client: deliver(client, talk, alice.store)  # noqa: E731, B023 - used at once
                unharmed = await live(home, alice, relay, crash_at(point), story)
                assert await live(home, alice, relay, connect_file, story)
                await wait_all_tasks_blocked()
                conversation = reader.conversation(talk.conversation)
                assert [each.text for each in conversation.history()] == TEXTS, point
                assert not conversation.losses(), point
                async with open_store(home, KeyFile(home / "key")) as store:
                    assert not store.log.losses(talk.conversation), point
                assert_same_bytes(relay)
            nursery.cancel_scope.cancel()
        if unharmed:
            assert point > 2 * len(TEXTS)
            return


def assert_same_bytes(relay: MemoryRelay) -> None:
    """Whatever was sent under a client id was the same each time."""
    sent: dict[ClientId, f.Send] = {}
    for frame in relay.frames_of(f.Send):
        assert isinstance(frame, f.Send)
        assert sent.setdefault(frame.client_id, frame) == frame


@pytest.mark.parametrize("kind", [ConversationKind.DM, ConversationKind.GROUP])
async def test_a_reader_killed_anywhere_goes_on(
    scratch: Path, autojump_clock: MockClock, kind: ConversationKind
) -> None:
    """Killed before or after any statement, a reader has every text once and in order, and has confirmed no more."""
    for point in count():
        alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
        talk = SimulatedConversation(kind, alice, bob)
        relay = MemoryRelay(talk)
        home = scratch / str(point)
        await settle_in(home, bob)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            async with open_client(relay, alice) as sender:
                for text in TEXTS:
                    await sender.conversation(talk.conversation).send(text)
                head = len(relay.log[talk.conversation])

                async def read(client: Client) -> None:
                    messages = aiter(client.conversation(talk.conversation))  # noqa: B023 - used at once
                    while (await anext(messages)).text != TEXTS[-1]:
                        pass
                    await wait_all_tasks_blocked()

                unharmed = await live(home, bob, relay, crash_at(point), read)
                if not unharmed:
                    assert relay.confirmed.get((talk.conversation, bob.id), 0) <= head
                    assert await live(home, bob, relay, connect_file, finish)
                async with open_store(home, KeyFile(home / "key")) as store:
                    assert [each.text for each in store.log.history(talk.conversation, 9, None)] == TEXTS, point
                    assert not store.log.losses(talk.conversation), point
                    assert store.conversations.upto(talk.conversation) == head
                assert relay.confirmed[talk.conversation, bob.id] == head
            nursery.cancel_scope.cancel()
        if unharmed:
            return


async def finish(client: Client) -> None:
    """Take in whatever there is."""
    await client.wait_connected()
    await trio.sleep(5)  # in virtual time: until everything that was under way is through
