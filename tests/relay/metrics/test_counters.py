"""Every counter moves when its event happens: clients of a running node cause it, and the page shows it."""

from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from domain.people.events import KeysLow
from domain.talk.events import TypingMoved
from relay.fleet.publisher import MOST_WAITING
from tests.cast import alice, alice_laptop, bob, bob_phone, remove_member
from tests.ids import id_of
from tests.relay.client import UPGRADE
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_node, open_room
from tests.relay.metrics_reader import watch
from varde_contract import frames as f
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode


async def test_a_message_is_counted_on_its_way(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """One batch, one commit, one fan-out, one word on the bus for this node and the others."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)

    async def story() -> None:
        await laptop.send(sends.group(roster, alice, b"twelve bytes"))
        await phone.receive(f.New)

    difference = await watch(node, story)
    for name in ("commit_seconds_count", "batch_messages_sum", "fan_out_seconds_count", "messages_committed_total"):
        assert difference.moved(f"varde_relay_{name}") == 1, name
    assert difference.moved("varde_relay_batch_bytes_sum") == 12
    assert difference.moved("varde_relay_announced_total", "messages-committed") == 1
    assert difference.moved("varde_relay_bus_events_total", "messages-committed") == 1


async def test_frames_are_counted_both_ways(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """By their kinds; the bytes of several in one message are counted as those of several."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    message = sends.group(roster, alice)
    typing = f.Typing(roster.conversation, alice.profile, active=True)

    async def story() -> None:
        await laptop.send(message)
        await phone.receive(f.New)
        await laptop.send(typing, typing)
        await phone.receive(f.TypingBy)

    difference = await watch(node, story)
    for frame, count in (("msg:send", 1), ("typing", 2), ("sync", 0)):
        assert difference.moved("varde_relay_frames_received_total", frame) == count, frame
    assert difference.moved("varde_relay_received_bytes_total", "msg:send") > len(message.group or b"")
    assert difference.moved("varde_relay_received_bytes_total", "several") > 0
    assert difference.moved("varde_relay_received_bytes_total", "typing") == 0
    for frame, count in (("msg:new", 1), ("ack", 1), ("typing", 2), ("lagging", 0)):
        assert difference.moved("varde_relay_frames_sent_total", frame) == count, frame
    assert difference.moved("varde_relay_sent_bytes_total", "msg:new") > len(message.group or b"")
    assert 3 <= difference.moved("varde_relay_flushes_total") <= 5
    assert difference.moved("varde_relay_reactor_passes_total") >= 2
    assert difference.moved("varde_relay_reactor_events_total") >= 2


async def test_a_message_sent_again_is_counted_as_that(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """It is no second message."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    frame = sends.group(roster, alice)

    async def story() -> None:
        for _ in range(2):
            await laptop.send(frame)
            await laptop.receive(f.Ack)

    difference = await watch(node, story)
    assert difference.moved("varde_relay_messages_committed_total") == 1
    assert difference.moved("varde_relay_messages_repeated_total") == 1


async def test_what_waits_for_a_commit_is_seen(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """How much and how long, and the time of the commit is that of the database."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    backend.interference.hold_commits()

    async def story() -> None:
        await laptop.send(sends.group(roster, alice, b"one"))
        await backend.interference.wait_commit_held()
        await laptop.send(sends.group(roster, alice, b"three"), sends.group(roster, alice, b"four"))
        await trio.sleep(3)  # in time that jumps

    difference = await watch(node, story)
    assert difference.moved("varde_relay_journal_waiting_messages") == 2
    assert difference.moved("varde_relay_journal_waiting_bytes") == 9
    difference = await watch(node, lambda: release(backend))
    assert difference.moved("varde_relay_commit_seconds_sum") == pytest.approx(3, abs=0.01)
    assert difference.moved("varde_relay_journal_waiting_messages") == -2


async def release(backend: Backend) -> None:
    """Let commits through."""
    backend.interference.release_commits()
    await trio.lowlevel.checkpoint()


async def test_a_full_journal_is_counted(backend: Backend, sends: Sends) -> None:
    """Each message that found no room: of a queue of two, one conversation has one place."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend, queue_drafts=2) as node:
        laptop = await node.connect_client(alice_laptop)
        backend.interference.hold_commits()
        await laptop.send(sends.group(roster, alice))
        await backend.interference.wait_commit_held()
        difference = await watch(node, lambda: laptop.send(*(sends.group(roster, alice) for _ in range(4))))
        assert difference.moved("varde_relay_journal_refusals_total", "queue-full") == 3
        backend.interference.release_commits()


async def test_an_outage_is_counted(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """What was in the commit, what waited behind it, and what came right after; how long it has lasted, and its end."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    backend.interference.hold_commits()

    async def story() -> None:
        await laptop.send(sends.group(roster, alice))
        await backend.interference.wait_commit_held()
        await laptop.send(sends.group(roster, alice))
        await wait_all_tasks_blocked()
        await trio.sleep(node.services.settings.commit_deadline)  # in time that jumps
        await laptop.receive(f.RefusedFrame)
        await laptop.send(sends.group(roster, alice))
        await laptop.receive(f.RefusedFrame)

    difference = await watch(node, story)
    for why in ("commit-failed", "stranded", "outage"):
        assert difference.moved("varde_relay_journal_refusals_total", why) == 1, why
    assert difference.moved("varde_relay_database_up") == -1
    assert difference.moved("varde_relay_database_outages_total") == 1
    assert difference.moved("varde_relay_database_failures_total") == 1
    difference = await watch(node, partial(trio.sleep, 5))  # in time that jumps
    assert difference.moved("varde_relay_database_outage_seconds") == pytest.approx(5)


async def test_a_roster_that_moves_under_a_message_is_counted(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Judged again once, and a no by then is one of the journal's refusals."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    backend.interference.hold_commits()

    async def story() -> None:
        await laptop.send(sends.each(roster, alice, alice_laptop))
        await backend.interference.wait_commit_held()
        await remove_member(backend.stores, roster.conversation, alice)
        backend.interference.release_commits()
        await laptop.receive(f.RefusedFrame)

    difference = await watch(node, story)
    assert difference.moved("varde_relay_messages_decided_again_total") == 1
    assert difference.moved("varde_relay_journal_refusals_total", "roster-moved") == 1
    assert difference.moved("varde_relay_refusals_total", RefusalCode.NOT_FOUND) == 1


async def test_reading_is_counted(node: MemoryNode, backend: Backend) -> None:
    """Queries, and requests in them; a database that is away is counted apart."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.connect_client(alice_laptop)
    difference = await watch(node, lambda: laptop.send(f.Join(roster.conversation)))
    queries = difference.moved("varde_relay_read_seconds_count")
    assert queries > 0
    assert difference.moved("varde_relay_read_requests_sum") >= queries
    backend.interference.unavailable = True
    difference = await watch(node, lambda: laptop.send(f.Sync(roster.conversation, 1)))
    assert difference.moved("varde_relay_read_failures_total") > 0


async def test_receipts_are_counted(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Those that wait while the database is away, and those that are stored when it is back."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    await laptop.send(sends.group(roster, alice))
    await phone.receive(f.New)
    backend.interference.unavailable = True

    async def confirm() -> None:
        await phone.send(f.Delivered(roster.conversation, 1), f.Read(roster.conversation, bob.profile, 1))
        await wait_all_tasks_blocked()

    difference = await watch(node, confirm)
    assert difference.moved("varde_relay_receipts_waiting") == 2
    assert difference.moved("varde_relay_receipt_failures_total") == 1
    backend.interference.unavailable = False
    difference = await watch(node, partial(trio.sleep, 2))  # longer than it takes to try again, in time that jumps
    assert difference.moved("varde_relay_receipts_waiting") == -2
    assert difference.moved("varde_relay_receipts_stored_total") == 2
    assert difference.moved("varde_relay_receipt_batch_positions_count") == 2


async def test_the_bus_is_counted(node: MemoryNode, backend: Backend) -> None:
    """What comes over it, what it may have lost, and what it could not take in time."""
    await open_room(backend, alice)

    async def story() -> None:
        backend.bus.publish_nowait([KeysLow(alice_laptop.id, 5)])
        backend.bus.lose_track()
        await trio.lowlevel.checkpoint()

    difference = await watch(node, story)
    assert difference.moved("varde_relay_bus_events_total", "keys-low") == 1
    assert difference.moved("varde_relay_bus_resyncs_total") == 1
    assert difference.moved("varde_relay_revocation_snapshots_total") == 1
    for number in range(MOST_WAITING + 3):
        node.services.publisher.publish(TypingMoved("here", ConversationId(id_of(number)), alice.profile, active=True))
    assert node.services.metrics.events_dropped == 3
    assert node.services.publisher.waiting == MOST_WAITING


async def test_a_bus_that_is_away_shows(node: MemoryNode, backend: Backend) -> None:
    """Whether it is there, how long it was not, and how many conversations are asked for."""
    roster = await open_room(backend, alice, bob)

    async def story() -> None:
        await node.listen(alice_laptop, roster.conversation)
        backend.bus.connected, backend.bus.down_seconds = False, 2.5

    difference = await watch(node, story)
    assert difference.moved("varde_relay_bus_up") == -1
    assert difference.moved("varde_relay_bus_down_seconds_total") == 2.5
    assert difference.moved("varde_relay_bus_subscriptions") == 1


async def test_a_list_of_revocations_that_cannot_be_read_is_counted(node: MemoryNode, backend: Backend) -> None:
    """It grows old, which is what one is woken for."""
    backend.interference.unavailable = True
    difference = await watch(node, partial(trio.sleep, 100))  # longer than one list is good for, in time that jumps
    assert difference.moved("varde_relay_revocation_failures_total") > 1
    assert difference.moved("varde_relay_revocation_age_seconds") == pytest.approx(100)


async def test_who_is_there_is_counted(node: MemoryNode, backend: Backend) -> None:
    """Strangers, those in the middle of a handshake, and established ones with what they listen to."""
    roster = await open_room(backend, alice, bob)

    async def story() -> None:
        node.open_stream()
        await node.open_client(bob_phone).upgrade()
        await node.listen(alice_laptop, roster.conversation)

    difference = await watch(node, story)
    for state in ("stranger", "handshake", "established"):
        assert difference.moved("varde_relay_connections", state) == 1, state
    assert difference.moved("varde_relay_listeners") == 1
    assert difference.moved("varde_relay_outbox_bytes_count") == 1


async def test_who_is_turned_away_is_counted(backend: Backend) -> None:
    """By too many handshakes of one address, too many in all, and too many who say nothing."""
    async with open_node(backend, strangers=3, handshakes=2, handshakes_per_address=1) as node:

        async def story() -> None:
            for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"):
                stream = node.open_stream(address)
                await stream.send_all(UPGRADE)
                if b"503" in await stream.receive_some():
                    await stream.aclose()
                    await wait_all_tasks_blocked()
            for _ in range(2):
                node.open_stream("192.0.2.4")

        difference = await watch(node, story)
        for outcome in ("rate-limited", "overloaded", "crowded-out"):
            assert difference.moved("varde_relay_handshakes_total", outcome) == 1, outcome
        assert difference.moved("varde_relay_hostile_total", "crowd") == 1


async def test_pings_and_who_does_not_answer_are_counted(node: MemoryNode, backend: Backend) -> None:
    """One ping a heartbeat, until the peer is cut."""
    await open_room(backend, alice)
    await node.connect_client(alice_laptop)
    difference = await watch(node, partial(trio.sleep, 3 * node.services.settings.heartbeat))  # in time that jumps
    assert 2 <= difference.moved("varde_relay_pings_total") <= 3
    assert difference.moved("varde_relay_hostile_total", "half-open") == 1
