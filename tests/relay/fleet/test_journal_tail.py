"""The tail of the journal: what nobody rang for comes within two seconds; in memory, and with real nodes."""

import os
import signal
from pathlib import Path

import asyncpg
import trio

from domain.people.model import Revocation
from relay.fleet.journal_tail import PERIOD, UNDER_WAY_MS, WINDOW_MS, read_journal_tail
from relay.fleet.peer_nodes import BEAT
from storage.database import Connection
from storage.island import open_island
from tests.cast import alice, alice_laptop, bob, bob_phone, carol, carol_phone, open_conversation, remove_member
from tests.relay.library_clients import open_with_websockets
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_node, open_room
from tests.relay.program import Program, open_roster, open_stores
from tests.store_contracts.messages import draft, send
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode

PROMISE = 2.0
"""Virtual seconds."""
BEFORE_RESYNC = 20
"""Seconds: `relay.fleet.resync` finds what the tail did not after thirty at the least."""
NOTIFYING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE '%pg_notify%' AND state = 'idle' AND pid <> pg_backend_pid()
"""


async def test_a_message_without_an_event_comes_within_two_seconds(backend: Backend, sends: Sends) -> None:
    """Another node committed and said nothing: who listens here has the message two seconds later."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend) as one, open_node(backend) as other:
        laptop = await one.listen(alice_laptop, roster.conversation)
        phone = await other.listen(bob_phone, roster.conversation)
        backend.bus.losing = True
        await laptop.send(sends.group(roster, alice))
        await laptop.receive_many(2)
        assert await phone.receive_pending() == []
        backend.clock.advance(UNDER_WAY_MS)
        with trio.fail_after(PROMISE):
            assert (await phone.receive(f.New)).seq == 1


async def test_a_revocation_without_an_event_cuts_within_two_seconds(node: MemoryNode, backend: Backend) -> None:
    """An API that dies between its commit and its event leaves no revoked device connected, even to a lone node."""
    roster = await open_room(backend, alice, bob)
    phone = await node.listen(bob_phone, roster.conversation)
    await trio.sleep(2 * BEAT)  # in time that jumps: it is alone by now
    backend.clock.advance(1_000)
    revocation = Revocation(bob_phone.id, backend.clock(), final=True)
    backend.memory.revocations[bob_phone.id] = backend.clock(), revocation
    with trio.fail_after(PROMISE):
        assert (await phone.wait_closed()).code == CloseCode.REVOKED


async def test_a_removal_without_an_event_takes_effect_within_two_seconds(backend: Backend) -> None:
    """A statement is a number of the log: who may not have it any more is found out as they are to read it."""
    roster = await open_room(backend, alice, bob, carol)
    async with open_node(backend) as node, open_node(backend):
        removed = await node.listen(carol_phone, roster.conversation)
        moved = await remove_member(backend.stores, roster.conversation, carol)
        stated = draft(alice_laptop, roster.conversation, sent_ms=backend.clock(), version=moved.version)
        await send(backend.stores, stated)
        backend.clock.advance(UNDER_WAY_MS)
        with trio.fail_after(PROMISE):
            assert (await removed.receive(f.Changed)).kind == f.ChangeKind.MEMBERSHIP


async def test_what_is_under_way_is_left_to_its_event(node: MemoryNode, backend: Backend) -> None:
    """A look does not read the log for a message of this moment, and finds it with the next one. What is old is old."""
    roster = await open_room(backend, alice, bob)
    phone = await node.listen(bob_phone, roster.conversation)
    sent_ms = backend.clock()
    await send(backend.stores, draft(alice_laptop, roster.conversation, sent_ms=sent_ms))
    await read_journal_tail(node.services)
    assert await phone.receive_pending() == []
    backend.clock.advance(UNDER_WAY_MS)
    await read_journal_tail(node.services)
    assert (await phone.receive(f.New)).seq == 1
    await send(backend.stores, draft(alice_laptop, roster.conversation, sent_ms=backend.clock() - WINDOW_MS))
    await read_journal_tail(node.services)
    assert await phone.receive_pending() == []


async def test_who_has_heard_everything_is_left_alone(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """The log is not read for listeners that are up to date, nor for conversations without one."""
    roster = await open_room(backend, alice, bob)
    other = await open_conversation(backend.stores, alice)
    laptop = await node.listen(alice_laptop, roster.conversation)
    await laptop.send(sends.group(roster, alice))
    await laptop.receive_many(2)
    await send(backend.stores, draft(alice_laptop, other, sent_ms=backend.clock()))
    backend.clock.advance(UNDER_WAY_MS)
    await read_journal_tail(node.services)
    (listener,) = node.services.hub.listeners(roster.conversation)
    assert listener.live
    assert await laptop.receive_pending() == []


async def test_who_is_alone_does_not_look(node: MemoryNode, backend: Backend) -> None:
    """A node that is alone has published all there is. With another one it looks, and during an outage it goes on."""
    roster = await open_room(backend, alice, bob)
    phone = await node.listen(bob_phone, roster.conversation)
    await trio.sleep(2 * BEAT)  # in time that jumps
    await send(backend.stores, draft(alice_laptop, roster.conversation, sent_ms=backend.clock()))
    backend.clock.advance(UNDER_WAY_MS)
    await trio.sleep(2 * PERIOD)  # in time that jumps
    assert await phone.receive_pending() == []
    with backend.interference.outage():
        await trio.sleep(2 * PERIOD)  # in time that jumps: it cannot know that it is alone
    async with open_node(backend):
        assert (await phone.receive(f.New)).seq == 1


async def test_a_look_in_vain_refuses_nobody(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A query that fails is no outage: commits go over other connections, and may well succeed."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    with backend.interference.outage():
        await read_journal_tail(node.services)
    await laptop.send(sends.group(roster, alice))
    assert (await laptop.receive(f.Ack)).seq == 1


async def notifying(connection: Connection) -> list[int]:
    """The processes of the database that rang, and wait for more to do."""
    return [row["pid"] for row in await connection.fetch(NOTIFYING)]


async def test_a_node_that_is_killed_before_its_event_delays_nobody(
    tmp_path: Path, database_url: str, sends: Sends
) -> None:
    """A node commits and acks, cannot ring because its connection for that stands still, and is killed. The other node
    delivers the message all the same, long before it looks everything up.
    """
    dying, living = Program(tmp_path, database_url), Program(tmp_path, database_url)
    stopped: list[int] = []
    try:
        dying.start()
        living.start()
        async with open_stores(database_url) as stores, open_island() as island:
            roster = await open_roster(stores)
            beside = await island.run(asyncpg.connect, database_url)
            async with (
                open_with_websockets(dying.url, dying.credentials(alice_laptop)) as laptop,
                open_with_websockets(living.url, living.credentials(bob_phone)) as phone,
            ):
                await laptop.connect()
                await phone.connect()
                await phone.send(f.Join())
                await phone.wait_for(f.Joined)
                while not stopped:  # until the node knows of the other one, and has told it something
                    await laptop.send(sends.group(roster, alice))
                    heard = (await laptop.wait_for(f.Ack)).seq
                    assert (await phone.wait_for(f.New)).seq == heard
                    stopped = await island.run(notifying, beside)
                for process in stopped:
                    os.kill(process, signal.SIGSTOP)
                await laptop.send(sends.group(roster, alice))
                last = (await laptop.wait_for(f.Ack)).seq
                dying.end(signal.SIGKILL)
                with trio.fail_after(BEFORE_RESYNC):
                    assert (await phone.wait_for(f.New)).seq == last
            await island.run(beside.close)
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)
        for program in (dying, living):
            if program.process is not None:
                program.end(signal.SIGKILL)
