"""What becomes of a client that does not read: what is dropped for it, what waits, and when it is cut."""

from dataclasses import replace

import pytest
import trio

from tests.cast import alice, alice_phone, bob, bob_phone
from tests.ids import id_of
from tests.relay.client import StreamClient
from tests.relay.memory_node import Backend, MemoryNode, Sends, open_node, open_room
from tests.relay.metrics_reader import watch
from varde_contract import frames as f
from varde_contract.ids import ConversationId
from varde_contract.limits import HEADS_PER_WELCOME


async def open_slow(node: MemoryNode) -> StreamClient:
    """Connect Alice's phone over a socket that holds next to nothing of what was not read yet."""
    client = node.open_client(alice_phone)
    client.stream = node.open_stream(narrow=True)
    await client.connect()
    return client


async def test_a_slow_reader_is_counted(backend: Backend, sends: Sends) -> None:
    """What is left out for it first, writes that the kernel took a part of, and its end."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend, outbox_bytes=20_000, ephemeral_per_second=1_000) as node:
        slow = await open_slow(node)
        await slow.send(f.Join(roster.conversation))
        await slow.receive(f.Joined)
        writer = await node.listen(bob_phone, roster.conversation)

        async def write(size: int) -> None:
            await writer.send(sends.group(roster, bob, sealed=bytes(size)))
            await writer.receive_many(2)

        peer = node.services.hub.find(alice_phone.id)
        assert peer is not None

        async def lag() -> None:
            while not peer.outbox.size:  # the kernel takes some first
                await write(5_000)
            await writer.send(*(f.Typing(roster.conversation, bob.profile, active=True) for _ in range(50)))
            for _ in range(2):
                await write(7_000)

        difference = await watch(node, lag)
        assert difference.words("varde_relay_dropped_frames_total") == {"typing": 50}
        assert difference.moved("varde_relay_partial_writes_total") == 1
        assert difference.words("varde_relay_disconnects_total") == {}

        async def overflow() -> None:
            for _ in range(3):
                await write(6_500)
            await slow.wait_closed()

        difference = await watch(node, overflow)
        assert difference.words("varde_relay_disconnects_total") == {"slow-consumer": 1}
        assert set(difference.words("varde_relay_hostile_total")) <= {"slow-reader", "slow-close"}
        assert difference.moved("varde_relay_hostile_total", "slow-reader") == 1


async def test_answers_that_nobody_reads_are_counted(backend: Backend) -> None:
    """The same code, and another word: nobody had told it anything."""
    await open_room(backend, alice)
    async with open_node(backend) as node:
        slow = await open_slow(node)

        async def pump() -> None:
            for _ in range(6_000):
                slow.protocol.send_ping(bytes(125))
            with pytest.raises(trio.BrokenResourceError):
                await slow.stream.send_all(b"".join(slow.protocol.data_to_send()))

        difference = await watch(node, pump)
        assert difference.words("varde_relay_disconnects_total") == {"slow-consumer": 1}
        assert difference.moved("varde_relay_hostile_total", "unread-answers") == 1
        assert difference.moved("varde_relay_hostile_total", "slow-reader") == 0


async def test_a_ping_that_the_kernel_refuses_is_written_later(backend: Backend) -> None:
    """A peer that reads again hears every ping that was begun: it would be cut for not answering them."""
    await open_room(backend, alice)
    async with open_node(backend) as node:
        slow = await open_slow(node)
        peer = node.services.hub.find(alice_phone.id)
        assert peer is not None
        transport = peer.connection.ping.__self__._transport  # type: ignore[attr-defined]
        pings = 0
        while not transport.unsent:
            peer.connection.ping()
            pings += 1
        heard = b""
        while len(heard) < 2 * pings:
            heard += await slow.stream.receive_some()
        assert heard == b"\x89\x00" * pings


async def test_a_large_welcome_reaches_a_slow_reader(backend: Backend) -> None:
    """What the kernel refuses of it goes out when there is room, though nobody says anything more."""
    roster = await open_room(backend, alice)
    talk = backend.memory.talks[roster.conversation]
    for number in range(1, HEADS_PER_WELCOME):
        other = ConversationId(id_of(number))
        backend.memory.talks[other] = replace(talk, id=other)
    async with open_node(backend) as node:
        client = node.open_client(alice_phone)
        client.stream = node.open_stream(narrow=True)
        assert len((await client.connect()).heads) == HEADS_PER_WELCOME
