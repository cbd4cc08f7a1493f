"""Sending: committed or raised, in order, sealed for who is there, the same bytes again."""

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice_laptop, alice_phone, bob_laptop, bob_phone, carol_phone, mallory
from tests.varde.endpoints import endpoint
from tests.varde.memory_relay import first, open_client, open_clients, refused, texts
from varde.clock import fresh_id
from varde.errors import NotFound, RootKeyChanged, TooLarge, Unreachable
from varde.events import Unsent
from varde.store.outbox import Draft, DraftKind, EncryptedDraft
from varde_contract import frames as f
from varde_contract.bodies import TEXT_CHARACTERS, Text
from varde_contract.ids import ClientId
from varde_contract.limits import CIPHERTEXT_BYTES
from varde_contract.refusals import RefusalCode
from varde_contract.talk import ConversationKind


async def test_a_dm_goes_both_ways(autojump_clock: MockClock) -> None:
    """`send` returns when it is committed, with its number, and the other side reads it."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        hers, his = room[alice], room[bob]
        sent = await hers.send("hei")
        assert sent.seq == 1
        message = await anext(aiter(his))
        assert (message.text, message.seq, message.client_id, message.mine) == ("hei", 1, sent.client_id, False)
        assert (message.account, message.profile, message.device) == (
            alice.person.account,
            alice.person.profile,
            alice.id,
        )
        await his.send("hallo")
        assert (await anext(aiter(hers))).text == "hallo"
        assert [each.text for each in hers.history()] == [each.text for each in his.history()] == ["hei", "hallo"]
        assert [each.mine for each in hers.history()] == [True, False]


async def test_a_group_is_given_the_key_first(autojump_clock: MockClock) -> None:
    """The first message in a group costs one share; the ones after it are sealed once for everybody."""
    alice, bob, carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    async with open_clients(ConversationKind.GROUP, alice, bob, carol) as room:
        conversation = room.talk.conversation
        assert (await room[alice].send("en")).seq == 2
        assert (await room[alice].send("to")).seq == 3
        for reader in (bob, carol):
            assert await texts(room.messages(reader), 2) == ["en", "to"]
        assert [each.frame.group is None for each in room.relay.log[conversation]] == [True, False, False]


async def test_own_devices_are_in_step(autojump_clock: MockClock) -> None:
    """What was said, and read, on one device is so on the other, as `mine`."""
    laptop, phone, bob = endpoint(alice_laptop), endpoint(alice_phone), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, laptop, phone, bob) as room:
        await room[laptop].send("fra kontoret")
        message = await anext(room.messages(phone))
        assert message.mine
        await room[phone].read(1)
        await wait_all_tasks_blocked()
        assert room[laptop].read_upto == 1


async def test_notes_to_oneself(autojump_clock: MockClock) -> None:
    """A note needs nobody else, not even another device."""
    laptop = endpoint(alice_laptop)
    async with open_clients(ConversationKind.SELF, laptop) as room:
        notes = room[laptop]
        assert (await notes.send("husk melk")).seq == 1
        assert [each.text for each in notes.history()] == ["husk melk"]


async def test_alone_in_a_group(autojump_clock: MockClock) -> None:
    """A group whose others have no device yet is no reason to fail, and no key is shared with nobody."""
    alice = endpoint(alice_laptop)
    async with open_clients(ConversationKind.GROUP, alice) as room:
        assert (await room[alice].send("hallo?")).seq == 1


@pytest.mark.parametrize("kind", [ConversationKind.DM, ConversationKind.GROUP])
async def test_a_stale_roster_is_repaired(autojump_clock: MockClock, kind: ConversationKind) -> None:
    """A device that came since is not known of: the send is refused, sealed again, and goes with the same client id."""
    alice, bob, late = endpoint(alice_laptop), endpoint(bob_phone), endpoint(bob_laptop)
    async with open_clients(kind, alice, bob) as room:
        conversation = room[alice]
        await conversation.send("før")
        room.talk.join(late)
        room.relay.confirmed[room.talk.conversation, late.id] = len(room.relay.log[room.talk.conversation])
        sent = await conversation.send("etter")
        async with open_client(room.relay, late) as client:
            messages = aiter(client.conversation(room.talk.conversation))
            message = await anext(messages)
        assert (message.text, message.client_id) == ("etter", sent.client_id)
        assert await texts(room.messages(bob), 2) == ["før", "etter"]
        tried = [each.client_id for each in room.relay.frames_of(f.Send) if isinstance(each, f.Send)]
        assert tried.count(sent.client_id) == 2


async def test_a_text_waits_while_a_newer_roster_cannot_be_had(autojump_clock: MockClock) -> None:
    """The relay has named a newer roster, and the API is away: the text is kept, and goes when the API is back."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room, trio.open_nursery() as nursery:
        await room[alice].send("en")
        room.relay.rest_error = Unreachable("away")
        room.talk.version += 1
        room.relay.change(room.talk)
        await wait_all_tasks_blocked()
        nursery.start_soon(room[alice].send, "to")
        await trio.sleep(100)  # in virtual time: many tries at an API that is away
        assert [each.text for each in room[alice].outgoing()] == ["to"]
        room.relay.rest_error = None
        assert await texts(room.messages(bob), 2) == ["en", "to"]


async def test_who_left_is_not_sealed_for(autojump_clock: MockClock) -> None:
    """After somebody left a group, the next message has a fresh key that only the others were given."""
    alice, bob, carol = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    async with open_clients(ConversationKind.GROUP, alice, bob, carol) as room:
        conversation = room[alice]
        await conversation.send("tre")
        room.talk.remove(carol)
        room.relay.change(room.talk)
        await conversation.send("to")
        assert await texts(room.messages(bob), 2) == ["tre", "to"]
        share = room.relay.log[room.talk.conversation][2].frame
        assert share.devices is not None
        assert share.devices.keys() == {bob.id}


async def test_a_lost_ack_costs_nothing(autojump_clock: MockClock) -> None:
    """When the connection breaks before the ack, the same bytes go again, and are stored once."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        room.relay.drop = lambda frame: isinstance(frame, f.Ack)
        conversation = room[alice]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.send, "en gang")
            await wait_all_tasks_blocked()
            room.relay.drop = lambda _: False
            room.relay.cut(alice.id)
        assert len(room.relay.log[room.talk.conversation]) == 1
        first, again = (each for each in room.relay.frames_of(f.Send))
        assert first == again
        assert await texts(room.messages(bob), 1) == ["en gang"]


async def test_one_senders_messages_keep_their_order(autojump_clock: MockClock) -> None:
    """Sends that were begun one after the other are numbered so, also when some are refused for a while."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        turns = iter([True, False, True, True, False] * 20)
        room.relay.refuse = lambda frame: (
            refused(frame, RefusalCode.RATE_LIMITED, retry_after_ms=10) if next(turns) else None
        )
        conversation = room[alice]
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(conversation.send, str(number))
                await wait_all_tasks_blocked()
        messages = room.messages(bob)
        assert await texts(messages, 10) == [str(number) for number in range(10)]


@pytest.mark.parametrize("code", [RefusalCode.UNAVAILABLE, RefusalCode.OVERLOADED, RefusalCode.RATE_LIMITED])
async def test_not_now_is_not_never(autojump_clock: MockClock, code: RefusalCode) -> None:
    """What is refused for a while is sent again, the very same bytes, until it is stored."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        tries = iter(range(10))
        room.relay.refuse = lambda frame: refused(frame, code, retry_after_ms=500) if next(tries) < 3 else None
        assert (await room[alice].send("til slutt")).seq == 1
        assert len({msgspec.msgpack.encode(each) for each in room.relay.frames_of(f.Send)}) == 1


@pytest.mark.parametrize("kind", [ConversationKind.DM, ConversationKind.GROUP])
async def test_a_refusal_for_good_is_raised(autojump_clock: MockClock, kind: ConversationKind) -> None:
    """What will never be stored is told to its sender, and does not stand in the way of what comes after."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(kind, alice, bob) as room:
        conversation = room[alice]
        room.relay.refuse = lambda frame: refused(frame, RefusalCode.NOT_FOUND)
        with pytest.raises(NotFound) as caught:
            await conversation.send("til ingen")
        assert caught.value.code == "not-found"
        room.relay.refuse = lambda _: None
        await conversation.send("til bob")
        assert await texts(room.messages(bob), 1) == ["til bob"]


async def test_what_nobody_waits_for_is_still_sent_or_told(autojump_clock: MockClock) -> None:
    """A cancelled send goes on; when it is refused for good, that is kept as `Unsent`."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        conversation = room[alice]
        events = room.clients[alice].events()
        room.relay.refuse = lambda frame: refused(frame, RefusalCode.UNAVAILABLE, retry_after_ms=60_000)
        with trio.move_on_after(1):
            await conversation.send("utålmodig")
        with trio.move_on_after(1):
            await conversation.send("dømt")
        doomed = iter([False, True])
        room.relay.refuse = lambda frame: refused(frame, RefusalCode.NOT_ALLOWED) if next(doomed) else None
        unsent = await first(events, Unsent)
        assert (unsent.text, unsent.code) == ("dømt", "not-allowed")
        assert await texts(room.messages(bob), 1) == ["utålmodig"]


async def test_a_stored_send_of_a_wrong_shape_is_given_up(autojump_clock: MockClock) -> None:
    """Ciphertext that lies in the store and that no relay takes is told as `Unsent`, once; what comes after it goes."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        events = room.clients[alice].events()
        profile, client_id = alice.person.profile, ClientId(fresh_id())
        draft = Draft(room.talk.conversation, client_id, DraftKind.TEXT, profile, 0, Text("for stor"))
        bad = EncryptedDraft(room.talk.version, bytes(8), 1, bytes(32), devices={bob.id: bytes(CIPHERTEXT_BYTES + 1)})
        with alice.store.transaction():
            alice.store.outbox.add(draft)
            alice.store.outbox.put_encrypted(client_id, bad)
        await room[alice].send("etter")
        unsent = await first(events, Unsent)
        assert (unsent.client_id, unsent.text, unsent.code) == (client_id, "for stor", "malformed")
        assert await texts(room.messages(bob), 1) == ["etter"]
        room.relay.cut(alice.id)
        await wait_all_tasks_blocked()
        sent = [frame.client_id for frame in room.relay.frames_of(f.Send) if isinstance(frame, f.Send)]
        assert sent.count(client_id) == 1


async def test_a_changed_root_key_stops_the_send(autojump_clock: MockClock) -> None:
    """To an account that shows another root key nothing is sent, and the sender is told why."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        await room[alice].send("før")
        before = len(room.relay.frames_of(f.Send))
        bob.account.forge(mallory.root)
        room.talk.version += 1
        room.relay.change(room.talk)
        await wait_all_tasks_blocked()
        with pytest.raises(RootKeyChanged):
            await room[alice].send("etter")
        assert len(room.relay.frames_of(f.Send)) == before


async def test_a_bundle_too_large_for_the_relay_goes_to_the_api(autojump_clock: MockClock) -> None:
    """What does not fit one Noise message is sent by REST, and arrives like any other."""
    alice, bob, phone = endpoint(alice_laptop), endpoint(bob_phone), endpoint(alice_phone)
    async with open_clients(ConversationKind.DM, alice, bob, phone) as room:
        text = "x" * 35_000
        sent = await room[alice].send(text)
        assert [each.client_id for each in room.relay.by_rest] == [sent.client_id]
        assert not room.relay.frames_of(f.Send)
        assert await texts(room.messages(bob), 1) == [text]
        assert [each.text for each in room[alice].history()] == [text]


@pytest.mark.parametrize("text", ["x" * (TEXT_CHARACTERS + 1), "\N{GRINNING FACE}" * 20_000])
async def test_a_text_too_long_is_refused_at_once(autojump_clock: MockClock, text: str) -> None:
    """More than one message holds, in characters or in bytes, is told before anything is kept."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        with pytest.raises(TooLarge):
            await room[alice].send(text)
        assert not alice.store.outbox.conversations()


async def test_the_longest_text_goes(autojump_clock: MockClock) -> None:
    """A text of the full length, and one of the most bytes, arrive whole."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        long = ["x" * TEXT_CHARACTERS, "\N{GRINNING FACE}" * 11_500]
        for text in long:
            await room[alice].send(text)
        assert await texts(room.messages(bob), 2) == long


async def test_what_was_written_offline_goes_later(autojump_clock: MockClock) -> None:
    """A draft outlives its process: the next client of the same store sends it without being asked."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        room.relay.refuse = lambda frame: refused(frame, RefusalCode.UNAVAILABLE, retry_after_ms=60_000)
        with trio.move_on_after(1):
            await room[alice].send("fra i går")
    async with open_clients(ConversationKind.DM, alice, bob, offline=(alice,)) as later:
        later.relay.talks = {room.talk.conversation: room.talk}
        async with open_client(later.relay, alice):
            await wait_all_tasks_blocked()
        assert [each.sender for each in later.relay.log[room.talk.conversation]] == [alice.id]


async def test_a_device_without_prekeys_does_not_stop_the_others(autojump_clock: MockClock) -> None:
    """A device that published no key is told that it missed something; everybody else reads."""
    alice, bob, phone = endpoint(alice_laptop), endpoint(bob_phone), endpoint(alice_phone)
    bob.one_time_keys.clear()
    bob.fallback_key = None
    async with open_clients(ConversationKind.DM, alice, bob, phone) as room:
        for number in range(3):
            await room[alice].send(str(number))
        assert await texts(room.messages(phone), 3) == ["0", "1", "2"]
        assert len(room.relay.claims) <= 4
