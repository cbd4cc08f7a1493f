"""Hostile members, with a good ticket: what they may cost is bounded, they end with a code, and the others talk on."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import pytest
import trio

from relay.socket.transport import READ_BYTES, UNREAD_BYTES
from tests.cast import CastDevice, alice_phone, bob, carol_phone
from tests.relay.client import ConnectionClosed, StreamClient
from tests.relay.hostile.attacked_node import AttackedNode, open_attacked_node
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.limits import NOISE_MESSAGE_BYTES

MASK: Final = b"\0\0\0\0"
BREATH: Final = 0.01
"""Seconds between two messages of a conversation."""
WHOLE_FRAME: Final = NOISE_MESSAGE_BYTES + 14
PINGS: Final = b"\x89\xfd" + MASK + bytes(125)

Story = Callable[[StreamClient], Awaitable[None]]


def saying(said: bytes, *, times: int = 1) -> Story:
    """Somebody who sends these bytes, so many times."""

    async def story(client: StreamClient) -> None:
        for _ in range(times):
            await client.stream.send_all(said)

    return story


def announcing(size: int) -> Story:
    """Somebody who announces a message of this size, and sends none of it."""
    return saying(b"\x82\xff" + size.to_bytes(8))


async def send_a_body_slowly(client: StreamClient) -> None:
    """The largest message there is, in pieces of a few bytes, of which none is the last."""
    await client.stream.send_all(b"\x82\xfe\xff\xff" + MASK)
    for _ in range(1_310):
        await client.stream.send_all(bytes(50))
        await trio.lowlevel.checkpoint()
    await client.stream.send_all(bytes(35))


async def send_malformed_without_end(client: StreamClient) -> None:
    """Frames that are refused for their shape, again and again, as a client does that repeats what it has stored."""
    while True:
        await client.send(*[f.Probe(bytes(17))] * 20)


async def probe_without_end(client: StreamClient) -> None:
    """More probes than anybody may send, with the longest token."""
    while True:
        await client.send(*[f.Probe(bytes(16))] * 100)


async def send_without_end(client: StreamClient) -> None:
    """More messages than anybody may send, whatever the answers say."""
    while True:
        await client.send(*[f.Presence(bob.profile, f.PresenceState.AWAY)] * 100)


@dataclass(frozen=True)
class Member:
    """What it does, how it ends, and what it was counted as."""

    name: str
    story: Story
    codes: set[int | None]
    label: set[str]
    hostile: set[str]
    largest: int = field(default=READ_BYTES)
    """Bytes that the node may hold for it, its outbox apart."""
    settings: dict[str, int] = field(default_factory=lambda: {"frames_per_second": 500})


FLOODED: Final = ({1008, 4107, None}, {"1008", "abuse"}, {"flood"})
"""By so much at once, or again and again. Who does not stop to write may not hear the code."""

MEMBERS: Final = [
    Member("announced-64-KiB", announcing(1 << 16), {1009}, {"1009"}, {"giant-frame"}),
    Member("announced-1-GiB", announcing(1 << 30), {1009}, {"1009"}, {"giant-frame"}),
    Member("announced-2^63", announcing(1 << 63), {1009}, {"1009"}, {"giant-frame"}),
    Member("compression", saying(b"\xc2\x85" + MASK + b"\xca\x48\xcd\xc9\xc9"), {1002}, {"1002"}, {"reserved-bits"}),
    Member(
        "empty-fragments", saying(b"\x02\x80" + MASK + (b"\x00\x80" + MASK) * 1_500), {1008}, {"1008"}, {"fragments"}
    ),
    Member("body-a-few-bytes-at-a-time", send_a_body_slowly, {4103}, {"protocol-error"}, {"garbage"}, WHOLE_FRAME),
    Member("pings", saying((b"\x89\x80" + MASK) * 1_000, times=500), *FLOODED),
    Member("pongs", saying((b"\x8a\x80" + MASK) * 1_000, times=500), *FLOODED),
    Member(
        "pings-and-reads-nothing",
        saying(PINGS * 100, times=500),
        *({4001, None}, {"slow-consumer"}, {"unread-answers"}),
        largest=2 * READ_BYTES + UNREAD_BYTES,
        settings={"frames_per_second": 1_000_000},
    ),
    Member("malformed-without-end", send_malformed_without_end, {4107, None}, {"abuse"}, {"flood"}),
    Member("probes-without-end", probe_without_end, {4107, None}, {"abuse"}, {"flood"}),
    Member("messages-without-end", send_without_end, {4107, None}, {"abuse"}, {"flood"}),
]


@pytest.mark.parametrize("member", MEMBERS, ids=[member.name for member in MEMBERS])
async def test_a_hostile_member(member: Member) -> None:
    """It ends with its code; two others talk before, meanwhile and afterwards."""
    async with open_attacked_node(burst=1, strikes=10, **member.settings) as node:
        client = await node.connect_client(carol_phone, narrow=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_go_on, member.story, client)
            await node.talk()
            assert node.largest() <= member.largest
            await _wait_gone(node, carol_phone)
            assert node.largest() <= member.largest
            nursery.cancel_scope.cancel()
        assert (await _wait_closed(client)).code in member.codes
        await node.talk()
        moved = await node.moved()
        assert moved.words("varde_relay_disconnects_total").keys() <= member.label
        assert sum(moved.words("varde_relay_disconnects_total").values()) == 1
        assert set(moved.words("varde_relay_hostile_total")) - {"slow-close"} == member.hostile
        assert moved.words("varde_relay_handshakes_total") == {"accepted": 1}


async def _go_on(story: Story, client: StreamClient) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, ConnectionClosed):
        await story(client)


async def _wait_closed(client: StreamClient) -> ConnectionClosed:
    try:
        return await client.wait_closed()
    except trio.BrokenResourceError:  # a reset: it wrote on after the node had gone
        return ConnectionClosed(None, "")


async def _wait_gone(node: AttackedNode, device: CastDevice) -> None:
    while node.services.hub.find(device.id) is not None:
        await node.talk()
        await trio.sleep(BREATH)  # the honest are not to flood the node themselves


async def test_a_member_that_is_only_half_there() -> None:
    """No FIN and no answer: it neither reads nor answers pings, and is cut when it was not heard for long enough."""
    async with open_attacked_node(heartbeat=1.0) as node:
        await node.connect_client(alice_phone)
        await _wait_gone(node, alice_phone)
        await node.talk()
        moved = await node.moved()
        assert moved.words("varde_relay_disconnects_total") == {"heartbeat-missed": 1}
        assert moved.moved("varde_relay_hostile_total", "half-open") == 1


async def test_a_member_that_does_not_read() -> None:
    """Its outbox is bounded, ephemeral frames are left out first, it is cut with 4001, and misses nothing later."""
    capacity = 20_000
    async with open_attacked_node(outbox_bytes=capacity, ephemeral_per_second=10_000) as node:
        slow = await node.connect_client(alice_phone, narrow=True)
        await slow.send(f.Join(node.roster.conversation))
        await slow.receive(f.Joined)
        peer = node.services.hub.find(alice_phone.id)
        assert peer is not None
        typing = [f.Typing(node.roster.conversation, bob.profile, active=True)] * 20
        while node.services.hub.find(alice_phone.id) is peer:
            await node.phone.send(*typing)
            await node.laptop.receive_many(len(typing))
            await node.talk(bytes(4_000))
            assert peer.outbox.size <= capacity
            assert node.largest() <= WHOLE_FRAME
        head = node.backend.memory.talks[node.roster.conversation].head
        heard = [new.seq for new in await _receive_messages(slow)]
        moved = await node.moved()
        assert moved.words("varde_relay_disconnects_total") == {"slow-consumer": 1}
        assert moved.moved("varde_relay_hostile_total", "slow-reader") == 1
        assert moved.moved("varde_relay_dropped_frames_total", "typing") > 0
        assert moved.moved("varde_relay_partial_writes_total") >= 1
        again = await node.connect_client(alice_phone)
        await again.send(f.Join(node.roster.conversation, len(heard) + 1))
        await again.receive(f.Joined)
        heard += [new.seq for new in await again.receive_many(head - len(heard)) if isinstance(new, f.New)]
        assert heard == list(range(1, head + 1))


async def _receive_messages(client: StreamClient) -> list[f.New]:
    ended = await _wait_closed(client)
    assert ended.code in {CloseCode.SLOW_CONSUMER, None}
    return [frame for frame in client.frames if isinstance(frame, f.New)]


async def test_a_member_that_never_answers_a_close() -> None:
    """Another connection takes its place at once; the old one is gone when the grace is over."""
    async with open_attacked_node() as node:
        older = await node.connect_client(alice_phone)
        newer = await node.connect_client(alice_phone)
        await node.talk()
        while await older.stream.receive_some():
            pass
        moved = await node.moved()
        assert moved.words("varde_relay_disconnects_total") == {"replaced": 1}
        assert moved.words("varde_relay_hostile_total") == {"slow-close": 1}
        await newer.close()
