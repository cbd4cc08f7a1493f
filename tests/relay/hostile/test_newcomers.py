"""Hostile newcomers, from raw sockets: each ends in time, is counted, takes little room, and disturbs nobody."""

import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final

import pytest
import trio

from relay.socket.http_upgrade import REQUEST_BYTES
from relay.socket.transport import READ_BYTES
from relay.socket.websocket import SLOW_FRAMES
from tests.cast import alice_phone
from tests.relay.client import UPGRADE
from tests.relay.hostile.attacked_node import CountingKeys, open_attacked_node
from tests.relay.hostile.raw_stream import read_to_the_end, send
from varde_contract import frames as f
from varde_contract.limits import NOISE_MESSAGE_BYTES
from varde_contract.session import Pattern

Story = Callable[[trio.SocketStream], Awaitable[None]]

MASK: Final = b"\0\0\0\0"
HEADER_BYTES: Final = 14
PONG_BYTES: Final = 127
BEAT: Final = 0.02
"""Seconds between two words of somebody who takes its time."""
BOMB: Final = zlib.compress(bytes(10_000_000), wbits=-15)


def at_once(*said: bytes) -> Story:
    """Somebody who says everything, and then no more."""

    async def story(stream: trio.SocketStream) -> None:
        await stream.send_all(b"".join(said))

    return story


def slowly(first: bytes, then: bytes) -> Story:
    """Somebody who begins, and then says a few bytes at a time, for ever."""

    async def story(stream: trio.SocketStream) -> None:
        await stream.send_all(first)
        for piece in repeat(then):
            await stream.send_all(piece)
            await trio.sleep(BEAT)  # to be slow is the attack

    return story


def without_end(first: bytes, then: bytes) -> Story:
    """Somebody who never stops to talk."""

    async def story(stream: trio.SocketStream) -> None:
        await stream.send_all(first)
        for piece in repeat(then * 100):
            await stream.send_all(piece)

    return story


@dataclass(frozen=True)
class Newcomer:
    """What it does, how the node ends it, as what it is counted, and what it may have done."""

    name: str
    story: Story
    ending: str
    outcome: str
    hostile: set[str]
    largest: int = field(default=READ_BYTES)
    """Bytes that the node may hold for it."""


def frame(first: int, payload: bytes) -> bytes:
    """A masked frame with a length of 16 bits."""
    return bytes((first, 0xFE)) + len(payload).to_bytes(2) + MASK + payload


XX_FIRST: Final = frame(0x82, b"\x01" + bytes(range(1, 33)))
COMPRESSING: Final = UPGRADE[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
HEADER: Final = UPGRADE[:-2] + b"X-Padding: "
FULL_BODY: Final = b"\x82\xfe\xff\xff" + MASK
WHOLE_FRAME: Final = NOISE_MESSAGE_BYTES + HEADER_BYTES

NEWCOMERS: Final = [
    Newcomer("silent", at_once(b""), "http 408", "timed-out", {"idle"}, 0),
    Newcomer("silent-in-its-request", at_once(UPGRADE[:-2]), "http 408", "timed-out", {"slow-header"}, REQUEST_BYTES),
    Newcomer("header-a-byte-at-a-time", slowly(HEADER, b"a"), "http 408", "timed-out", {"slow-header"}, REQUEST_BYTES),
    Newcomer("silent-after-upgrade", at_once(UPGRADE), "close 4004", "timed-out", {"slow-handshake"}, 0),
    Newcomer("silent-after-noise", at_once(UPGRADE, XX_FIRST), "close 4004", "timed-out", {"slow-handshake"}, 0),
    Newcomer(
        "body-a-few-bytes-at-a-time",
        *(slowly(UPGRADE + FULL_BODY, b"abc"), "close 4004", "timed-out", {"slow-handshake"}, WHOLE_FRAME),
    ),
    Newcomer("no-http", at_once(b"\x00\x01\x02\r\n"), "http 400", "no-request", {"no-http"}, 0),
    Newcomer("giant-header", at_once(HEADER, b"a" * 9_000, b"\r\n\r\n"), "http 431", "no-request", {"no-http"}),
    Newcomer("giant-request", at_once(b"GET /" + b"a" * 500_000), "http 414 or http 431", "no-request", {"no-http"}),
    Newcomer("endless-headers", without_end(UPGRADE[:-2], b"a: b\r\n"), "http 431", "no-request", {"no-http"}),
    Newcomer(
        "endless-first-line", without_end(b"GET /", b"a" * 100), "http 414 or http 431", "no-request", {"no-http"}
    ),
    Newcomer("endless-lines", without_end(b"", b"\n" * 100), "http 400", "no-request", {"no-http"}),
    Newcomer(
        "announced-64-KiB",
        at_once(UPGRADE, b"\x82\xff" + (1 << 16).to_bytes(8)),
        *("close 1009", "malformed"),
        {"giant-frame"},
    ),
    Newcomer(
        "announced-1-GiB",
        at_once(UPGRADE, b"\x82\xff" + (1 << 30).to_bytes(8)),
        *("close 1009", "malformed"),
        {"giant-frame"},
    ),
    Newcomer(
        "announced-2^63",
        at_once(UPGRADE, b"\x82\xff" + (1 << 63).to_bytes(8)),
        *("close 1009", "malformed"),
        {"giant-frame"},
    ),
    Newcomer(
        "sends-1-GiB",
        without_end(UPGRADE + b"\x82\xff" + (1 << 30).to_bytes(8) + MASK, b"a" * 100),
        *("close 1009", "malformed", {"giant-frame"}),
    ),
    Newcomer("compression-bomb", at_once(COMPRESSING, frame(0xC2, BOMB)), "close 1002", "malformed", {"reserved-bits"}),
    Newcomer(
        "fragments-without-end",
        without_end(UPGRADE + b"\x02\x80" + MASK, b"\x00\x80" + MASK),
        "close 1008",
        "malformed",
        {"fragments"},
    ),
    Newcomer(
        "large-fragments",
        without_end(UPGRADE + frame(0x02, bytes(20_000)), frame(0x00, bytes(20_000))),
        "close 1009",
        "malformed",
        {"giant-frame"},
        WHOLE_FRAME + READ_BYTES,
    ),
    Newcomer(
        "pings-without-end",
        without_end(UPGRADE, frame(0x89, b"")),
        *("close 1008", "malformed", {"flood"}, READ_BYTES + SLOW_FRAMES * PONG_BYTES),
    ),
    Newcomer("text", at_once(UPGRADE, frame(0x81, b"hello")), "close 1003", "malformed", {"bad-frame"}),
]


@pytest.mark.parametrize("newcomer", NEWCOMERS, ids=[newcomer.name for newcomer in NEWCOMERS])
async def test_a_hostile_newcomer(newcomer: Newcomer) -> None:
    """It ends as the table says, by itself; two others talk before, meanwhile and afterwards."""
    async with open_attacked_node() as node:
        await node.talk()
        stream = await node.open_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, stream, newcomer.story)
            await node.talk()
            assert node.largest() <= newcomer.largest
            assert await read_to_the_end(stream) in newcomer.ending.split(" or ")
            nursery.cancel_scope.cancel()
        await node.talk()
        moved = await node.moved()
        assert moved.words("varde_relay_handshakes_total") == {newcomer.outcome: 1}
        assert set(moved.words("varde_relay_hostile_total")) - {"slow-close"} == newcomer.hostile
        assert moved.words("varde_relay_disconnects_total") == {}
        assert node.largest() <= newcomer.largest


async def test_a_replay_of_a_first_message() -> None:
    """It replaces nobody, is told nothing that it could read, and ends with the deadline of the handshake."""
    async with open_attacked_node() as node:
        original = await node.open_client(alice_phone, Pattern.IK)
        first = original.session.open()
        await original.upgrade()
        await original.send_message(first)
        await original.receive(f.Welcome)
        await original.close()
        replay = await node.open_stream()
        await replay.send_all(UPGRADE + frame(0x82, first))
        await node.talk()
        assert await read_to_the_end(replay) == "close 4004"
        moved = await node.moved()
        assert moved.words("varde_relay_handshakes_total") == {"accepted": 2}
        assert moved.words("varde_relay_disconnects_total") == {"1000": 1, "handshake-timeout": 1}
        assert moved.words("varde_relay_hostile_total") == {"replay": 1}


async def test_a_close_that_is_never_answered() -> None:
    """Who stays though it was told to go is cut off when the grace is over, and counted."""
    async with open_attacked_node() as node:
        stream = await node.open_stream()
        await stream.send_all(UPGRADE + frame(0x82, b"\x07 no pattern"))
        await node.talk()
        assert await read_to_the_end(stream, stay=True) == "close 4109"
        moved = await node.moved()
        assert moved.words("varde_relay_handshakes_total") == {"unsupported-handshake": 1}
        assert moved.words("varde_relay_hostile_total") == {"slow-close": 1}
        assert CountingKeys.used <= 4, "two honest handshakes, and nothing for this one"
