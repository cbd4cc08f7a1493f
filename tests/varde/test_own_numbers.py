"""Whose a number is: own where an ack said so to a draft, and else a gap that is shown."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice_laptop, bob_phone
from tests.ids import id_of
from tests.varde.endpoints import NOW, endpoint
from tests.varde.fake_rest import FakeRest
from tests.varde.memory_relay import first, open_client, open_clients, texts
from varde.errors import Busy, Refusal
from varde.events import Gap
from varde.store.conversations import OwnNumbers
from varde.store.database import Database, connect_file
from varde.store.schema import VERSIONS
from varde.store.table import KEY_BYTES, StoreCipher
from varde_contract import frames as f
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode
from varde_contract.talk import ConversationKind, GapReason, Role


async def test_an_ack_again_hides_nothing(autojump_clock: MockClock) -> None:
    """A draft is given one number: its ack again under the next number moves nothing."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        sent = await room[bob].send("min")
        room.relay.deliver(bob.id, f.Ack(sent.client_id, room.talk.conversation, sent.message, sent.seq + 1, NOW))
        await wait_all_tasks_blocked()
        assert room[bob].upto == sent.seq
        await room[alice].send("ikke skjult")
        assert await texts(room.messages(bob), 1) == ["ikke skjult"]


async def test_a_number_of_others_called_own_is_shown(autojump_clock: MockClock) -> None:
    """What the relay calls own and no ack explains is a gap; what this device did send, key shares too, is none."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.GROUP, alice, bob) as room:
        events = room.clients[bob].events()
        room.relay.drop = lambda frame: isinstance(frame, f.New)
        await room[alice].send("skjult")  # 1 and 2
        sent = await room[bob].send("min")  # 3 and 4
        assert sent.seq == 4
        room.relay.deliver(bob.id, f.Gap(room.talk.conversation, 1, 5, GapReason.OWN))
        await wait_all_tasks_blocked()
        lost = [Gap(room.talk.conversation, first, last, GapReason.OWN) for first, last in ((1, 2), (5, 5))]
        assert list(room[bob].losses()) == lost
        assert [await first(events, Gap) for _ in lost] == lost
        assert room[bob].upto == 5


@pytest.mark.parametrize("hidden", [False, True])
async def test_an_own_gap_before_its_ack(autojump_clock: MockClock, *, hidden: bool) -> None:
    """An ack that was lost comes after its own gap, in the next life of the client: only what it leaves is shown."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob, offline=(bob,)) as room:
        conversation = room.talk.conversation
        room.relay.drop = lambda frame: isinstance(frame, f.Ack | f.Gap)
        async with open_client(room.relay, bob) as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.conversation(conversation).send, "en gang")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        room.relay.cut(bob.id)
        room.relay.drop = lambda frame: isinstance(frame, f.Ack)
        async with open_client(room.relay, bob) as client:
            await wait_all_tasks_blocked()
            room.relay.deliver(bob.id, *[f.Gap(conversation, 2, 2, GapReason.OWN)] * hidden)
            await wait_all_tasks_blocked()
            assert client.conversation(conversation).upto == 1 + hidden
            assert not client.conversation(conversation).losses()
        room.relay.cut(bob.id)
        room.relay.drop = lambda _: False
        async with open_client(room.relay, bob) as client:
            await wait_all_tasks_blocked()
            assert [each.text for each in client.conversation(conversation).history()] == ["en gang"]
            assert not client.conversation(conversation).outgoing()
            lost = [Gap(conversation, 2, 2, GapReason.OWN)] * hidden
            assert list(client.conversation(conversation).losses()) == lost


async def test_a_statement_may_be_stored_although_the_server_is_busy(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first try was stored and not answered, the next one refused: the number that it has is not called lost."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)

    async def refuse(*_: object) -> None:
        raise Refusal.of(RefusalCode.OVERLOADED, "later")

    monkeypatch.setattr(FakeRest, "append_statements", refuse)
    async with open_clients(ConversationKind.GROUP, alice, bob) as room:
        with pytest.raises(Busy):
            await room[alice].set_role(bob.person.profile, Role.OWNER)
        room.relay.deliver(alice.id, f.Gap(room.talk.conversation, 1, 1, GapReason.OWN))
        await wait_all_tasks_blocked()
        assert room[alice].upto == 1
        assert not room[alice].losses()


def test_an_old_store_knows_its_own_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store from before acks were kept knows the numbers of the texts it sent, and of nothing else."""
    path, conversation = str(tmp_path / "store"), ConversationId(id_of(7))
    with monkeypatch.context() as before:
        before.setattr("varde.store.database.VERSIONS", VERSIONS[:1])
        old = Database(connect_file(path))
    with old.transaction():
        for seq, taken in ((1, 2), (2, 1)):
            sql = "INSERT INTO log (conversation, seq, kind, taken, sealed) VALUES (?, ?, 'message', ?, x'00')"
            old.run(sql, conversation.bytes, seq, taken)
    old.aclose_nowait()
    database = Database(connect_file(path))
    own = OwnNumbers(database, StoreCipher(bytes(KEY_BYTES)))
    assert [own.has(conversation, seq) for seq in (1, 2)] == [True, False]
    database.aclose_nowait()
