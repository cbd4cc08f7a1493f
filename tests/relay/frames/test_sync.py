"""Numbers that are asked for again, and the gaps where they cannot be had."""

from domain.talk import model as talk
from tests.cast import alice, alice_laptop, alice_phone, bob, carol, carol_phone, put_member
from tests.relay.backlog import DAY_MS, fill, gaps, seqs
from tests.relay.client import StreamClient
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_node, open_room, roster_now
from varde_contract import frames as f


async def test_frame_sync(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Numbers that are asked for come again, apart from the live order and without joining."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 6)
    client = await node.connect_client(alice_laptop)
    await client.send(f.Sync(roster.conversation, 2, 3))
    assert seqs(await client.receive_pending()) == [2, 3, 4]
    await client.send(f.Sync(roster.conversation, 5))
    assert seqs(await client.receive_pending()) == [5, 6]


async def test_a_sync_over_deleted_rows_stays_in_its_range(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Where the log has forgotten even who wrote, the range is one gap and nothing behind it is told."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 4)
    backend.clock.advance(61 * DAY_MS)
    for _ in range(2):
        await backend.stores.retention.sweep(backend.clock.now_ms, retention_ms=30 * DAY_MS, limit=100)
    await fill(backend, sends, roster, 3)
    client = await node.connect_client(alice_laptop)
    await client.send(f.Sync(roster.conversation, 2, 2))
    heard = await client.receive_pending()
    assert gaps(heard) == [(2, 3, "expired")]
    assert seqs(heard) == []


async def test_syncs_are_answered_few_at_a_time(backend: Backend, sends: Sends) -> None:
    """Who asks faster than it can be told is asked to wait."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 2)
    async with open_node(backend, syncs=2) as node:
        client = await node.connect_client(alice_laptop)
        await client.send(*(f.Sync(roster.conversation, 1) for _ in range(3)))
        heard = await client.receive_pending()
        assert seqs(heard) == [1, 2, 1, 2]
        assert [frame.code for frame in heard if isinstance(frame, f.RefusedFrame)] == ["too-many"]


async def test_frame_gap(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Every number that cannot be had is accounted for, with its reason, and neighbours are said as one."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 4)
    for device in (alice_laptop, alice_phone, *bob.devices):
        await backend.stores.mailbox.confirm([talk.Confirmation(roster.conversation, device.id, 2)])
    client = await node.connect_client(alice_laptop)
    await client.send(f.Sync(roster.conversation, 1))
    heard = await client.receive_pending()
    assert gaps(heard) == [(1, 2, "delivered")]
    assert seqs(heard) == [3, 4]


async def test_a_gap_says_what_expired(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """What nobody fetched in thirty days is gone, and said to be."""
    roster = await open_room(backend, alice, bob)
    await fill(backend, sends, roster, 2)
    backend.clock.advance(31 * DAY_MS)
    await backend.stores.retention.sweep(backend.clock.now_ms, retention_ms=30 * DAY_MS, limit=100)
    await fill(backend, sends, roster, 1)
    client = await node.connect_client(alice_laptop)
    await client.send(f.Join(roster.conversation))
    await client.receive(f.Joined)
    heard = await client.receive_pending()
    assert gaps(heard) == [(1, 2, "expired")]
    assert seqs(heard) == [3]


async def test_a_gap_says_what_was_before_a_member(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Who was added later learns that there was something before, and nothing of it."""
    roster = await open_room(backend, alice, bob)
    await open_room(backend, carol)
    await fill(backend, sends, roster, 3)
    await put_member(backend.stores, roster.conversation, carol)
    await fill(backend, sends, await roster_now(backend, roster.conversation), 1)
    client = await node.connect_client(carol_phone)
    await client.send(f.Join(roster.conversation, 1))
    await client.receive(f.Joined)
    heard = await client.receive_pending()
    assert gaps(heard) == [(1, 3, "before-you")]
    assert seqs(heard) == [4]


async def test_a_gap_says_what_was_its_own(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A device that joins later is told that a number was its own message, for which it has no ciphertext."""
    roster = await open_room(backend, alice, bob)
    client: StreamClient = await node.connect_client(alice_laptop)
    await client.send(sends.group(roster, alice))
    await client.receive(f.Ack)
    await client.send(f.Join(roster.conversation))
    await client.receive(f.Joined)
    assert gaps(await client.receive_pending()) == [(1, 1, "own")]
