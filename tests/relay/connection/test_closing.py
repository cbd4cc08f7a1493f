"""How connections end while they are live: by whom, with which code, and what nobody notices."""

import logging
from itertools import repeat

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from domain.people.events import TicketsRevoked
from tests.cast import CastDevice, alice, alice_laptop, alice_phone, bob, bob_phone, revoke
from tests.relay.client import StreamClient
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_node, open_room
from varde_contract import frames as f
from varde_contract.limits import NOISE_MESSAGE_BYTES
from varde_contract.session import Pattern

DAY_MS = 24 * 60 * 60 * 1000


async def test_close_revoked(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """A revoked device is cut at once: nothing it says afterwards is heard, nothing is told to it any more."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    backend.bus.publish_nowait([TicketsRevoked(alice_laptop.id, backend.clock.now_ms, final=True)])
    await phone.send(sends.group(roster, bob))
    await phone.receive(f.Ack)
    assert (await laptop.wait_closed()).code == 4101
    assert not laptop.frames
    assert node.services.hub.find(alice_laptop.id) is None


async def test_nothing_a_device_says_after_its_revocation_is_done(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """A send that lies in the socket when the revocation comes is never read."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    message = laptop.session.send(sends.group(roster, alice))
    backend.bus.publish_nowait([TicketsRevoked(alice_laptop.id, backend.clock.now_ms, final=True)])
    await laptop.send_message(message)
    assert (await laptop.wait_closed()).code == 4101
    assert backend.memory.talks[roster.conversation].head == 0


async def test_a_revocation_between_welcome_and_the_first_word_counts(
    node: MemoryNode, backend: Backend, sends: Sends
) -> None:
    """A connection that nobody could cut yet is judged when it proves to be alive, before anything it says is done."""
    roster = await open_room(backend, alice, bob)
    laptop, phone = await node.connect_client(alice_laptop, Pattern.IK), await node.connect_client(bob_phone)
    await phone.send(sends.group(roster, bob))  # from here on, the node has the roster and need not wait for it
    await phone.receive(f.Ack)
    backend.bus.publish_nowait([TicketsRevoked(alice_laptop.id, backend.clock.now_ms, final=True)])
    await laptop.send(sends.group(roster, alice))
    assert (await laptop.wait_closed()).code == 4101
    assert backend.memory.talks[roster.conversation].head == 1


async def test_a_new_whitelist_sends_for_a_new_ticket(node: MemoryNode, backend: Backend) -> None:
    """A device whose profiles changed is cut with the code that sends it to the API, and may come back."""
    await open_room(backend, alice)
    laptop = await node.connect_client(alice_laptop)
    backend.clock.advance(1)
    backend.bus.publish_nowait([TicketsRevoked(alice_laptop.id, backend.clock.now_ms, final=False)])
    assert (await laptop.wait_closed()).code == 4100
    backend.clock.advance(1)
    await node.connect_client(alice_laptop)


async def test_a_revocation_the_bus_lost_counts_all_the_same(node: MemoryNode, backend: Backend) -> None:
    """The store is asked again from time to time, and at once when the bus says that it may have lost something."""
    await open_room(backend, alice, bob)
    laptop, phone = await node.connect_client(alice_laptop), await node.connect_client(bob_phone)
    backend.clock.advance(1)
    await revoke(backend.stores, alice.account, alice_laptop.id, backend.clock.now_ms)
    backend.bus.lose_track()
    assert (await laptop.wait_closed()).code == 4101
    await revoke(backend.stores, bob.account, bob_phone.id, backend.clock.now_ms)
    assert (await phone.wait_closed()).code == 4101


async def test_close_ticket_expired(node: MemoryNode, backend: Backend) -> None:
    """A connection does not outlive the ticket it was opened with by more than a heartbeat."""
    await open_room(backend, alice)
    laptop = await node.connect_client(alice_laptop)
    backend.clock.advance(DAY_MS)
    assert (await laptop.wait_closed()).code == 4104


async def test_close_replaced(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """The newer connection of a device takes over, and only the older one is cut."""
    roster = await open_room(backend, alice, bob)
    older = await node.listen(alice_laptop, roster.conversation)
    newer = await node.listen(alice_laptop, roster.conversation)
    assert (await older.wait_closed()).code == 4102
    phone = await node.listen(bob_phone, roster.conversation)
    await phone.send(sends.group(roster, bob))
    assert (await newer.receive(f.New)).seq == 1
    assert len(node.services.hub) == 2


async def test_an_ik_connection_replaces_with_its_first_own_word(node: MemoryNode, backend: Backend) -> None:
    """The older connection stays until the newer one has proven to be alive."""
    roster = await open_room(backend, alice)
    older = await node.listen(alice_laptop, roster.conversation)
    newer = await node.connect_client(alice_laptop, Pattern.IK)
    await older.send(f.Sync(roster.conversation, 1))
    await older.receive(f.RefusedFrame)
    await newer.send(f.Join(roster.conversation))
    await newer.receive(f.Joined)
    assert (await older.wait_closed()).code == 4102


async def test_close_heartbeat_missed(node: MemoryNode, backend: Backend) -> None:
    """Who answers no ping is cut, and who does stays."""
    await open_room(backend, alice, bob)
    silent = await node.connect_client(alice_laptop)
    alive = await node.connect_client(bob_phone)
    node.nursery.start_soon(alive.wait_closed)
    await trio.sleep(10 * node.services.settings.heartbeat)  # in time that jumps
    assert node.services.hub.find(alice_laptop.id) is None
    assert node.services.hub.find(bob_phone.id) is not None
    assert (await silent.wait_closed()).code == 4005


MALFORMED = [b"", b"\x90", b"\xc0", b"\x91\x91\x01", b"\x91\x92\xa4sync", b"\xdd" + b"\xff" * 4]


@pytest.mark.parametrize("packed", MALFORMED)
async def test_close_protocol_error(node: MemoryNode, backend: Backend, packed: bytes) -> None:
    """What is sealed in good order and is no array of frames ends the connection."""
    await open_room(backend, alice)
    laptop = await node.connect_client(alice_laptop)
    await laptop.send_message(laptop.session.seal(packed))
    assert (await laptop.wait_closed()).code == 4103


async def test_a_message_that_does_not_authenticate_is_a_protocol_error(node: MemoryNode, backend: Backend) -> None:
    """One flipped bit, a repetition, or a message left out ends the connection."""
    await open_room(backend, alice, bob)
    for damage in ("flipped", "repeated", "left out"):
        laptop = await node.connect_client(alice_laptop)
        first, second = (laptop.session.send(f.Presence(alice.profile, f.PresenceState.AWAY)) for _ in range(2))
        sent = {"flipped": [bytes([first[0] ^ 1]) + first[1:]], "repeated": [first, first], "left out": [second]}
        for message in sent[damage]:
            await laptop.send_message(message)
        assert (await laptop.wait_closed()).code == 4103


async def test_text_is_unsupported_data(node: MemoryNode, backend: Backend) -> None:
    """Faults of the WebSocket are closed with the codes of RFC 6455: 1003 for text."""
    await open_room(backend, alice)
    laptop = await node.connect_client(alice_laptop)
    laptop.protocol.send_text(b"hello")
    await laptop.flush()
    assert (await laptop.wait_closed()).code == 1003


async def test_a_message_larger_than_noise_allows_is_too_big(node: MemoryNode, backend: Backend) -> None:
    """1009, whole or in fragments."""
    await open_room(backend, alice)
    whole = await node.connect_client(alice_laptop)
    await whole.send_message(bytes(NOISE_MESSAGE_BYTES + 1))
    assert (await whole.wait_closed()).code == 1009
    parts = await node.connect_client(alice_laptop)
    parts.protocol.send_binary(bytes(NOISE_MESSAGE_BYTES), fin=False)
    parts.protocol.send_continuation(b"1", fin=True)
    await parts.flush()
    assert (await parts.wait_closed()).code == 1009


async def test_a_fragmented_message_is_one_message(node: MemoryNode, backend: Backend) -> None:
    """A client may cut its messages as it likes, pings in between included."""
    roster = await open_room(backend, alice)
    laptop = await node.connect_client(alice_laptop)
    message = laptop.session.send(f.Join(roster.conversation))
    laptop.protocol.send_binary(message[:5], fin=False)
    laptop.protocol.send_ping(b"")
    laptop.protocol.send_continuation(b"", fin=False)
    laptop.protocol.send_continuation(message[5:], fin=True)
    await laptop.flush()
    await laptop.receive(f.Joined)


async def test_endless_fragments_are_a_violation(node: MemoryNode, backend: Backend) -> None:
    """1008: empty fragments have no size that could become too large."""
    await open_room(backend, alice)
    laptop = await node.connect_client(alice_laptop)
    laptop.protocol.send_binary(b"", fin=False)
    for _ in range(2_000):
        laptop.protocol.send_continuation(b"", fin=False)
    await laptop.stream.send_all(b"".join(laptop.protocol.data_to_send()))
    assert (await laptop.wait_closed()).code == 1008


async def test_an_unmasked_frame_is_a_fault_of_the_websocket(node: MemoryNode, backend: Backend) -> None:
    """1002, as RFC 6455 section 5.1 asks."""
    await open_room(backend, alice)
    laptop = await node.connect_client(alice_laptop)
    await laptop.stream.send_all(b"\x82\x01x")
    assert (await laptop.wait_closed()).code == 1002


async def test_a_peer_that_closes_gets_its_answer(node: MemoryNode, backend: Backend) -> None:
    """The closing handshake ends with the peer's own code, and nobody is left in the hub."""
    await open_room(backend, alice)
    laptop = await node.connect_client(alice_laptop)
    laptop.protocol.send_close(1000)
    await laptop.flush()
    assert (await laptop.wait_closed()).code == 1000
    await wait_all_tasks_blocked()
    assert len(node.services.hub) == 0


async def test_a_peer_that_vanishes_leaves_nothing(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Also with an answer on its way, a broken connection disturbs nobody."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    backend.interference.hold_commits()
    await laptop.send(sends.group(roster, alice))
    await backend.interference.wait_commit_held()
    await laptop.abort()
    await wait_all_tasks_blocked()
    backend.interference.release_commits()
    assert (await phone.receive(f.New)).seq == 1
    assert len(node.services.hub) == 1


async def open_slow(node: MemoryNode) -> StreamClient:
    """Connect Alice's phone over a socket that holds next to nothing of what was not read yet."""
    client = node.open_client(alice_phone)
    client.stream = node.open_stream(narrow=True)
    await client.connect()
    return client


async def test_close_slow_consumer(backend: Backend, sends: Sends) -> None:
    """A peer that does not read is cut when its outbox is full, can resume, and holds up nobody."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend, outbox_bytes=20_000) as node:
        slow = await open_slow(node)
        await slow.send(f.Join(roster.conversation))
        await slow.receive(f.Joined)
        writer = await node.listen(bob_phone, roster.conversation)
        for _ in range(6):
            await writer.send(sends.group(roster, bob, sealed=bytes(5_000)))
            await writer.receive_many(2)
        assert node.services.hub.find(alice_phone.id) is None
        assert (await slow.wait_closed()).code == 4001
        again = await node.connect_client(alice_phone)
        await again.send(f.Join(roster.conversation))
        await again.receive(f.Joined)
        assert [(await again.receive(f.New)).seq for _ in range(6)] == [1, 2, 3, 4, 5, 6]


async def test_frame_lagging(backend: Backend, sends: Sends) -> None:
    """What is not a message is dropped first, which the peer is told; no message is lost and nobody is cut."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend, outbox_bytes=20_000, ephemeral_per_second=1_000) as node:
        slow = await open_slow(node)
        await slow.send(f.Join(roster.conversation))
        await slow.receive(f.Joined)
        writer = await node.listen(bob_phone, roster.conversation)
        peer = node.services.hub.find(alice_phone.id)
        assert peer is not None
        sizes = iter([*repeat(5_000, 10), 0])
        while not peer.outbox.size:  # the kernel takes some first
            await writer.send(sends.group(roster, bob, sealed=bytes(next(sizes))))
            await writer.receive_many(2)
        await writer.send(*(f.Typing(roster.conversation, bob.profile, active=True) for _ in range(50)))
        for _ in range(2):
            await writer.send(sends.group(roster, bob, sealed=bytes(6_500)))
            await writer.receive_many(2)
        head = backend.memory.talks[roster.conversation].head
        heard = await slow.receive_many(head + 1)
        assert [frame.dropped for frame in heard if isinstance(frame, f.Lagging)] == [50]
        assert [frame.seq for frame in heard if isinstance(frame, f.New)] == list(range(1, head + 1))


async def test_pings_that_nobody_reads_the_answers_of(backend: Backend) -> None:
    """A peer that pings and does not read is cut before its answers fill the memory."""
    await open_room(backend, alice)
    async with open_node(backend) as node:
        slow = await open_slow(node)
        for _ in range(6_000):
            slow.protocol.send_ping(bytes(125))
        with pytest.raises(trio.BrokenResourceError):
            await slow.stream.send_all(b"".join(slow.protocol.data_to_send()))
        assert node.services.hub.find(alice_phone.id) is None


async def test_close_abuse(backend: Backend) -> None:
    """Who ignores refusals for long is cut, and told why."""
    await open_room(backend, alice)
    async with open_node(backend, frames_per_second=1, burst=1, strikes=3) as node:
        laptop = await node.connect_client(alice_laptop)
        for _ in range(400):
            laptop.protocol.send_binary(laptop.session.send(f.Presence(alice.profile, f.PresenceState.AWAY)))
        await laptop.flush()
        assert (await laptop.wait_closed()).code == 4107


async def test_refusal_rate_limited(backend: Backend) -> None:
    """Who says too much at once is told when to go on, and nothing of that message was done."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend, frames_per_second=10, burst=1, ephemeral_per_second=1_000) as node:
        laptop = await node.listen(alice_laptop, roster.conversation)
        frame = f.Typing(roster.conversation, alice.profile, active=True)
        await laptop.send(*([frame] * 200))
        await laptop.send(*([frame] * 100))
        refused = await laptop.receive(f.RefusedFrame)
        assert (refused.about, refused.subject, refused.code) == ("typing", roster.conversation, "rate-limited")
        assert refused.retry_after_ms is not None
        await laptop.receive_many(99)
        await trio.sleep(refused.retry_after_ms / 1_000)  # which is what the refusal asked for
        await laptop.send(*([frame] * 100))
        assert await laptop.receive_pending() == []


def break_mailbox(node: MemoryNode, device: CastDevice) -> None:
    """Give a connected device's peer a fault of our own, which its next `sync` meets."""
    peer = node.services.hub.find(device.id)
    assert peer is not None
    del peer.mailbox


async def test_a_surprise_ends_its_own_connection_only(
    backend: Backend, sends: Sends, caplog: pytest.LogCaptureFixture
) -> None:
    """Our own bug in one connection closes it with 1011 and is logged by its type, without what the peer said."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend, strict=False) as node:
        laptop, phone = await node.connect_client(alice_laptop), await node.connect_client(bob_phone)
        break_mailbox(node, alice_laptop)
        with caplog.at_level(logging.ERROR):
            await laptop.send(f.Sync(roster.conversation, 1))
            assert (await laptop.wait_closed()).code == 1011
            await wait_all_tasks_blocked()
        await phone.send(sends.group(roster, bob))
        await phone.receive(f.Ack)
    (record,) = caplog.records
    assert record.getMessage().startswith("a connection ended with a surprise: AttributeError at join.py:")
    assert record.exc_info is None


async def test_a_surprise_crashes_a_strict_node(backend: Backend) -> None:
    """Where it is configured to, and in these tests it is, a bug is not survived."""
    roster = await open_room(backend, alice)
    crashes: list[BaseException] = []
    try:
        async with open_node(backend) as node:
            laptop = await node.connect_client(alice_laptop)
            break_mailbox(node, alice_laptop)
            await laptop.send(f.Sync(roster.conversation, 1))
            await laptop.wait_closed()
            await wait_all_tasks_blocked()
    except* AttributeError as group:
        crashes.append(group)
    assert crashes


async def test_a_connection_that_ends_starts_nothing_more(node: MemoryNode, backend: Backend) -> None:
    """Who still has its peer in hand, as a task that waited for a store may, harms nobody: it once ended the node."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    peer = node.services.hub.find(alice_laptop.id)
    assert peer is not None
    await laptop.abort()
    while node.services.hub.find(alice_laptop.id) is not None:
        await trio.lowlevel.checkpoint()
    peer.mailbox.listen(roster.conversation, 0, 1)
    await wait_all_tasks_blocked()
    peer.mailbox.listen(roster.conversation, 0, 2)
    await wait_all_tasks_blocked()
    phone = await node.connect_client(bob_phone)
    assert node.services.hub.find(bob_phone.id) is not None
    await phone.close()
