"""Crowds: at every ceiling a newcomer is turned away before a key is touched, and the rest of the world is let in."""

import re
from typing import Final

import trio

from relay.connection.admission import ADDRESS_BURST
from tests.cast import alice_phone
from tests.relay.client import UPGRADE
from tests.relay.hostile.attacked_node import HOSTILE, AttackedNode, CountingKeys, open_attacked_node

ATTEMPTS: Final = 30


async def ask(node: AttackedNode, address: str) -> tuple[bytes, trio.SocketStream]:
    """Ask for an upgrade; return the beginning of the answer, and the stream, which stays open."""
    stream = await node.open_stream(address)
    await stream.send_all(UPGRADE)
    return bytes(await stream.receive_some()), stream


async def flood(node: AttackedNode, *addresses: str) -> list[int]:
    """Try again and again, each time to be told when to come back; return these times."""
    used, times = CountingKeys.used, []
    for number in range(ATTEMPTS):
        answer, stream = await ask(node, addresses[number % len(addresses)])
        await stream.aclose()
        assert answer.startswith(b"HTTP/1.1 503 "), answer
        found = re.search(rb"\r\nRetry-After: (\d+)\r\n", answer)
        assert found is not None
        times.append(int(found[1]))
        if number % 10 == 0:
            await node.talk()
    assert CountingKeys.used == used, "no key was touched for them"
    return times


async def test_a_flood_of_handshakes_from_one_address() -> None:
    """Silent peers hold the places of their address, and nobody else's."""
    async with open_attacked_node(handshakes_per_address=4, handshake_deadline=PATIENT) as node:
        held = [await ask(node, HOSTILE) for _ in range(4)]
        assert all(answer.startswith(b"HTTP/1.1 101 ") for answer, _ in held)
        times = await flood(node, HOSTILE)
        assert len(set(times)) > 1, "they are not to come back all at once"
        assert min(times) >= 2
        await (await node.open_client(alice_phone, address="127.0.0.3")).connect()
        await node.talk()
        assert (await node.moved()).words("varde_relay_handshakes_total") == {"rate-limited": ATTEMPTS, "accepted": 1}


PATIENT: Final = 20.0


async def test_a_flood_of_handshakes_from_everywhere() -> None:
    """At the node's own ceiling everybody new is turned away; those who are there notice nothing."""
    async with open_attacked_node(handshakes=4, handshake_deadline=PATIENT) as node:
        held = [await ask(node, f"127.0.1.{number}") for number in range(1, 5)]
        assert all(answer.startswith(b"HTTP/1.1 101 ") for answer, _ in held)
        times = await flood(node, "127.0.2.1", "127.0.2.2", "127.0.2.3")
        assert len(set(times)) > 1
        await node.talk()
        assert (await node.moved()).words("varde_relay_handshakes_total") == {"overloaded": ATTEMPTS}


async def test_connecting_again_and_again() -> None:
    """One address may connect so often and no more: a burst, and then it waits for its turn."""
    async with open_attacked_node(connects_per_second=0.2, handshake_deadline=PATIENT) as node:
        for _ in range(round(0.2 * ADDRESS_BURST)):
            answer, stream = await ask(node, HOSTILE)
            assert answer.startswith(b"HTTP/1.1 101 ")
            await stream.aclose()
        assert min(await flood(node, HOSTILE)) >= 1
        await node.talk()
        moved = (await node.moved()).words("varde_relay_handshakes_total")
        assert moved["rate-limited"] == ATTEMPTS


async def test_a_crowd_that_says_nothing() -> None:
    """Beyond what one address may hold open, a connection is closed as it comes: not a byte is spent on it."""
    async with open_attacked_node(strangers_per_address=8, handshake_deadline=PATIENT) as node:
        silent = [await node.open_stream() for _ in range(8)]
        for _ in range(ATTEMPTS):
            async with await node.open_stream() as stream:
                assert await _read(stream) == b""
        await node.talk()
        await (await node.open_client(alice_phone, address="127.0.0.3")).connect()
        moved = await node.moved()
        assert moved.words("varde_relay_handshakes_total") == {"crowded-out": ATTEMPTS, "accepted": 1}
        assert moved.words("varde_relay_hostile_total") == {"crowd": ATTEMPTS}
        assert moved.moved("varde_relay_connections", "stranger") == len(silent)
        assert node.largest() == 0


async def _read(stream: trio.SocketStream) -> bytes:
    try:
        return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""


async def test_a_crowd_of_slow_headers() -> None:
    """What each may make the node hold is bounded, so it is for all of them together; and their deadline frees it."""
    async with open_attacked_node(strangers_per_address=64) as node:
        crowd = [await node.open_stream() for _ in range(64)]
        for stream in crowd:
            await stream.send_all(UPGRADE[:-2] + b"X-Padding: " + b"a" * 8_000)
        await node.talk()
        assert node.largest() <= 16_384
        for stream in crowd:
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 408 ")
        await node.talk()
        assert (await node.moved()).words("varde_relay_hostile_total") == {"slow-header": 64}
