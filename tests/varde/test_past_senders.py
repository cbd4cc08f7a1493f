"""Senders that are gone: what they wrote while they belonged is read, and nothing is ever sealed for them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice, alice_laptop, alice_phone, bob_phone, carol_phone, mallory, mallory_phone
from tests.varde.endpoints import Endpoint, SimulatedConversation, endpoint, why
from tests.varde.memory_relay import ConversationClients, first, open_client, open_clients, texts
from varde.client import Client
from varde.errors import Unreachable
from varde.events import Reason, Undecryptable
from varde.store.people import PinnedProfile
from varde_contract.talk import ConversationKind

DM, GROUP = ConversationKind.DM, ConversationKind.GROUP


@asynccontextmanager
async def written_and_gone(
    kind: ConversationKind, *said: str
) -> AsyncIterator[tuple[ConversationClients, Endpoint, Endpoint]]:
    """Alice's phone writes while Bob is off, and is revoked: the room, Alice's laptop, and Bob."""
    phone, laptop, bob = endpoint(alice_phone), endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(kind, phone, laptop, bob, offline=(bob,)) as room:
        for text in said:
            await room[phone].send(text)
        await remove(room, phone)
        yield room, laptop, bob


async def remove(room: ConversationClients, gone: Endpoint) -> None:
    """Somebody's device is revoked, and everybody is told."""
    await wait_all_tasks_blocked()
    room.talk.remove(gone)
    room.relay.cut(gone.id)
    room.relay.change(room.talk)
    await wait_all_tasks_blocked()


async def why_closed(room: ConversationClients, reader: Endpoint) -> Reason:
    """Why the first message of somebody who comes back stays closed."""
    async with open_client(room.relay, reader) as client:
        return (await first(client.events(), Undecryptable)).reason


@pytest.mark.parametrize("kind", [DM, GROUP])
async def test_what_a_revoked_device_wrote_is_read(autojump_clock: MockClock, kind: ConversationKind) -> None:
    """Bob, who never met the phone, reads all of it in order; the phone is asked about once, also after a restart."""
    async with written_and_gone(kind, "en", "to", "tre") as (room, laptop, bob):
        await room[laptop].send("fire")
        async with open_client(room.relay, bob) as client:
            messages = aiter(client.conversation(room.talk.conversation))
            assert await texts(messages, 4) == ["en", "to", "tre", "fire"]
            assert not client.conversation(room.talk.conversation).losses()
        room.relay.confirmed[room.talk.conversation, bob.id] = 0
        async with open_client(room.relay, bob):
            await wait_all_tasks_blocked()
        assert not room.relay.asked_for  # the account's lists came with the roster


@pytest.mark.parametrize("kind", [DM, GROUP])
async def test_nothing_is_sealed_for_who_is_gone(autojump_clock: MockClock, kind: ConversationKind) -> None:
    """Bob answers what the phone wrote: no key of it is claimed, and nobody but the roster gets a ciphertext."""
    async with written_and_gone(kind, "en") as (room, laptop, bob), open_client(room.relay, bob) as client:
        conversation = client.conversation(room.talk.conversation)
        assert await texts(aiter(conversation), 1) == ["en"]
        before = len(room.relay.claims)
        await conversation.send("svar")
        assert await texts(room.messages(laptop), 2) == ["en", "svar"]
        (gone,) = room.talk.past
        assert gone.id not in {device for claim in room.relay.claims[before:] for device in claim.devices}
        sent = [entry.frame for entry in room.relay.log[room.talk.conversation] if entry.sender == bob.id]
        assert {device for frame in sent for device in frame.devices or {}} == {laptop.id}


async def test_what_somebody_wrote_before_leaving_is_read(autojump_clock: MockClock) -> None:
    """Bob reads Carol, whom no roster he ever saw has named, as herself; she is not a member of his for that."""
    laptop, carol, bob = endpoint(alice_laptop), endpoint(carol_phone), endpoint(bob_phone)
    async with open_clients(GROUP, laptop, carol, bob, offline=(bob,)) as room:
        await room[carol].send("jeg går nå")
        await remove(room, carol)
        async with open_client(room.relay, bob) as client:
            message = await anext(aiter(client.conversation(room.talk.conversation)))
            assert (message.text, message.profile) == ("jeg går nå", carol.person.profile)
            assert (message.account, message.device) == (carol.person.account, carol.id)
            members = {member.profile for member in client.conversation(room.talk.conversation).members}
            assert members == {alice.profile, bob.person.profile}
            assert bob.keychain.trust.lists.root_key(carol.person.account) == carol.person.root_key


async def test_several_who_are_gone_are_read(autojump_clock: MockClock) -> None:
    """Each of them is met on the way through one backlog, in which their messages alternate."""
    phone, laptop, carol, bob = (endpoint(device) for device in (alice_phone, alice_laptop, carol_phone, bob_phone))
    async with open_clients(GROUP, phone, laptop, carol, bob, offline=(bob,)) as room:
        for number in range(4):
            await room[(phone, carol)[number % 2]].send(str(number))
        await remove(room, phone)
        await remove(room, carol)
        async with open_client(room.relay, bob) as client:
            assert await texts(aiter(client.conversation(room.talk.conversation)), 4) == ["0", "1", "2", "3"]
        assert set(room.relay.asked_for) == {carol.person.profile}


async def test_the_api_may_be_away(autojump_clock: MockClock) -> None:
    """Until it is known who wrote nothing is judged, and nothing is lost."""
    async with written_and_gone(DM, "en") as (room, _, bob):
        room.relay.rest_error = Unreachable("away")
        async with open_client(room.relay, bob) as client:
            await trio.sleep(100)  # in virtual time: many tries at an API that is away
            assert client.conversation(room.talk.conversation).upto == 0
            room.relay.rest_error = None
            assert await read(client, room) == ["en"]


async def read(client: Client, room: ConversationClients) -> list[str]:
    """The next text."""
    return await texts(aiter(client.conversation(room.talk.conversation)), 1)


async def test_a_sender_whose_list_breaks_the_rules_is_not_read(autojump_clock: MockClock) -> None:
    """With a list that its root key did not sign, of another account, or none at all, the message stays closed."""
    mallorys = endpoint(mallory_phone).account.signed
    for lie in (lambda account: [b"\x92" + each[1:-1] + b"\x00" for each in account.signed], lambda _: mallorys):
        async with written_and_gone(GROUP, "en") as (room, _, bob):
            (phone,) = room.talk.past
            room.relay.lists = lambda account, lie=lie, phone=phone: (  # type: ignore[misc] # bound here
                lie(account) if account is phone.account else account.signed
            )
            assert await why_closed(room, bob) is Reason.UNKNOWN_SENDER
            assert bob.store.pins.device(room.talk.past[0].id) is None


async def test_another_root_key_is_a_reason(autojump_clock: MockClock) -> None:
    """A gone device in a list under a root key that the one before does not vouch for is loud, and not believed."""
    async with written_and_gone(GROUP, "en") as (room, _, bob):
        (phone,) = room.talk.past
        bob.learn(phone.account)
        phone.account.forge(mallory.root)
        assert await why_closed(room, bob) is Reason.ROOT_KEY_CHANGED
        assert bob.keychain.trust.lists.root_key(alice.account) == alice.root_key


async def test_a_gone_device_cannot_speak_for_another(autojump_clock: MockClock) -> None:
    """What is inside must be of the account whose certificate was shown: the relay cannot put it in Bob's mouth."""
    async with written_and_gone(GROUP, "en") as (room, _, bob):
        conversation = room.talk.conversation
        share, text = room.relay.log[conversation]
        room.relay.log[conversation] = [
            share,
            text._replace(frame=replace(text.frame, profile=bob.person.profile)),
        ]
        assert await why_closed(room, bob) is Reason.UNKNOWN_SENDER


def test_who_is_known_from_a_group_is_nobody_in_a_dm() -> None:
    """A message that a relay puts into a dm, sealed for it by somebody both met in a group, is not believed."""
    bob, alices, stranger = endpoint(bob_phone), endpoint(alice_laptop), endpoint(mallory_phone)
    group, dm, forged = (
        SimulatedConversation(GROUP, bob, alices, stranger),
        SimulatedConversation(DM, bob, alices),
        SimulatedConversation(GROUP, bob, stranger),
    )
    group.verify_everywhere()
    dm.verify_everywhere()
    forged.conversation = dm.conversation
    forged.prove(stranger)
    news = [talk.send_text(stranger, "jeg er med")[bob.id] for talk in (forged, group)]
    assert why(bob, news[0]) is Reason.UNKNOWN_SENDER
    assert bob.read(news[1]) == "jeg er med"


async def test_nobody_else_ever_wrote_where_members_never_change(autojump_clock: MockClock) -> None:
    """A stranger said to have been in a dm is not asked about, and nothing of them is pinned."""
    alices, bob, stranger = endpoint(alice_laptop), endpoint(bob_phone), endpoint(mallory_phone)
    async with open_clients(DM, alices, bob) as room:
        await room[alices].send("ekte")
        await wait_all_tasks_blocked()
        room.talk.past.append(stranger)
        new = replace(room.talk.new(stranger, room.talk.draft(stranger), b"\x01\x02x"), seq=2)
        for _ in range(2):  # live, and again when it was asked for after the look-up
            room.relay.deliver(bob.id, new)
            await wait_all_tasks_blocked()
        closed = await first(room.clients[bob].events(), Undecryptable)
        assert closed.reason is Reason.UNKNOWN_SENDER
        assert not room.relay.asked_for
        assert bob.store.pins.device(stranger.id) is None


def test_a_device_without_the_profile_cannot_speak_for_it() -> None:
    """A profile of the same account that the device's commitments never had is not the device's to write as."""
    bob, alices = endpoint(bob_phone), endpoint(alice_laptop)
    talk = SimulatedConversation(GROUP, bob, alices)
    talk.verify_everywhere()
    with bob.store.transaction():
        bob.keychain.trust.pin_profile(alice.jobb.id, PinnedProfile(alice.account, alice.jobb.salt))
    assert bob.keychain.trust.knows(talk.conversation, alices.id, alice.profile)
    assert not bob.keychain.trust.knows(talk.conversation, alices.id, alice.jobb.id)
