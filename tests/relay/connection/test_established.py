"""A node on TCP and clients with other people's WebSockets: the whole of `run_node`."""

import errno
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import trio
from websockets.client import ClientProtocol
from websockets.typing import Subprotocol

from domain.people.events import TicketsRevoked
from domain.talk import model as talk
from relay.socket.listeners import open_listeners, run_listener
from simulation.stores import open_memory_stores
from simulation.stores.bus import RecordingBus
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from tests.cast import alice, alice_laptop, alice_phone, bob, bob_phone, open_conversation, settle
from tests.clients.node.client import open_with_node
from tests.relay.client import URI
from tests.relay.library_clients import LIBRARIES, OpenClient, open_with_trio_websocket, open_with_websockets
from tests.relay.memory_node import Sends
from tests.relay.tcp_node import TcpNode, open_tcp_node
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.session import SUBPROTOCOL, Pattern

every_client = pytest.mark.parametrize("open_client_with", [*LIBRARIES, open_with_node])
# The others need ML-KEM, which Node 20 has not; the SDK tries them.
both_patterns = pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.IK])


@dataclass
class Scene:
    """Alice and Bob have a conversation, and a node runs."""

    node: TcpNode
    roster: talk.Roster
    bus: RecordingBus
    memory: Memory


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """A node over memory stores."""
    memory, bus = Memory(), RecordingBus()
    stores = open_memory_stores(interference=Interference(), bus=bus, memory=memory)
    await settle(stores, alice, bob)
    conversation = await open_conversation(stores, alice, bob)
    roster = (await stores.conversations.rosters([conversation]))[conversation]
    async with open_tcp_node(stores, frames_per_second=100_000) as node:
        yield Scene(node, roster, bus, memory)


@every_client
@both_patterns
async def test_a_message_travels_between_strangers_clients(
    scene: Scene, sends: Sends, open_client_with: OpenClient, pattern: Pattern
) -> None:
    """Handshake, join, send, ack, delivery and receipt work with three clients that are not ours."""
    node, roster = scene.node, scene.roster
    async with (
        open_client_with(node.url, node.credentials(alice_laptop, pattern)) as laptop,
        open_with_websockets(node.url, node.credentials(bob_phone, pattern)) as phone,
    ):
        for client in (laptop, phone):
            assert (await client.connect()).heads[0].conversation == roster.conversation
            await client.send(f.Join())
            await client.wait_for(f.Joined)
        await laptop.send(sends.each(roster, alice, alice_laptop))
        assert (await laptop.wait_for(f.Ack)).seq == 1
        new = await phone.wait_for(f.New)
        assert new.ciphertext == b"sealed for " + bob_phone.id.bytes
        await phone.send(f.Delivered(roster.conversation, 1))
        assert (await laptop.wait_for(f.DeliveredBy)).upto == 1


async def test_a_flood_arrives_whole_and_in_order(scene: Scene, sends: Sends) -> None:
    """Two thousand messages at once, and a client that comes late, lose and reorder nothing."""
    node, roster = scene.node, scene.roster
    async with (
        open_with_trio_websocket(node.url, node.credentials(alice_laptop)) as laptop,
        open_with_websockets(node.url, node.credentials(bob_phone)) as phone,
    ):
        for client in (laptop, phone):
            await client.connect()
            await client.send(f.Join())
            await client.wait_for(f.Joined)
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                for _ in range(20):
                    await laptop.send(*(sends.group(roster, alice) for _ in range(100)))

            nursery.start_soon(flood)
            assert [(await phone.wait_for(f.New)).seq for _ in range(2_000)] == list(range(1, 2_001))
        async with open_with_trio_websocket(node.url, node.credentials(alice_phone)) as late:
            await late.connect()
            await late.send(f.Join())
            assert [(await late.wait_for(f.New)).seq for _ in range(2_000)] == list(range(1, 2_001))


@every_client
async def test_close_codes_reach_strangers_clients(scene: Scene, open_client_with: OpenClient) -> None:
    """The last word is not lost to a reset, whatever the client has not read yet."""
    node = scene.node
    async with open_client_with(node.url, node.credentials(alice_laptop)) as laptop:
        await laptop.connect()
        await laptop.send(f.Join())
        await laptop.wait_for(f.Joined)
        scene.bus.publish_nowait([TicketsRevoked(alice_laptop.id, node.clock(), final=True)])
        closed = await laptop.wait_closed()
        assert (closed.code, closed.reason) == (4101, "revoked")


@every_client
async def test_close_draining(scene: Scene, open_client_with: OpenClient) -> None:
    """Who does not go by itself is cut with the code that means: come back."""
    node = scene.node
    async with open_client_with(node.url, node.credentials(alice_laptop)) as laptop:
        await laptop.connect()
        await laptop.send(f.Join())
        await laptop.wait_for(f.Joined)
        node.stop.set()
        assert (await laptop.wait_closed()).code == 4000
        assert laptop.drained
    await node.ended.wait()


async def test_frame_goaway(scene: Scene, sends: Sends) -> None:
    """A node that goes down says so, with a time and a jitter, still answers, and ends when everybody has gone."""
    node, roster = scene.node, scene.roster
    async with open_with_websockets(node.url, node.credentials(alice_laptop, Pattern.XX)) as laptop:
        await laptop.connect()
        node.stop.set()
        goaway = await laptop.wait_for(f.Goaway)
        assert (goaway.why, goaway.after_ms) == (CloseCode.DRAINING, 0)
        assert 0 < goaway.jitter_ms < 1_000
        await laptop.send(sends.group(roster, alice))
        assert (await laptop.wait_for(f.Ack)).seq == 1
    await node.ended.wait()
    with pytest.raises(OSError, match=r"."):
        await node.open_stream()


async def test_a_node_ends_though_a_guest_is_silent(scene: Scene) -> None:
    """Neither an open socket without a word nor a half-done handshake holds up the end."""
    stream = await scene.node.open_stream()
    await stream.send_all(b"GET /v1/relay HT")
    scene.node.stop.set()
    await scene.node.ended.wait()
    assert await stream.receive_some() == b""
    await stream.aclose()


async def test_who_stands_at_the_door_is_told(scene: Scene) -> None:
    """Whom the kernel has taken in as the node goes down is answered, not reset: there is another node to go to."""
    node = scene.node
    host, _, port = node.address.rpartition(":")
    async with open_with_websockets(node.url, node.credentials(alice_laptop)) as laptop:
        await laptop.connect()  # and holds the node up
        node.stop.set()
        waiting = [socket.create_connection((host, int(port))) for _ in range(5)]
        for sock in waiting:
            sock.setblocking(False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            await stream.send_all(ask())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 503 ")
            await stream.aclose()
    await node.ended.wait()


def ask() -> bytes:
    """A good request."""
    protocol = ClientProtocol(URI, subprotocols=[Subprotocol(SUBPROTOCOL)])
    protocol.send_request(protocol.connect())
    return b"".join(protocol.data_to_send())


async def test_a_browser_is_answered_over_tcp(scene: Scene) -> None:
    """Health checks and lost people get whole HTTP answers."""
    async with httpx.AsyncClient(base_url=f"http://{scene.node.address}", trust_env=False) as client:
        assert (await client.get("/v1/health")).text == "alive\n"
        assert (await client.get("/v1/ready")).status_code == 200
        assert (await client.get("/v1/relay")).status_code == 426
        assert (await client.post("/v1/relay", content=b"body")).status_code == 400


class BrokenListener(socket.socket):
    """A listener whose `accept` fails with what the test says, then works."""

    codes: list[int]

    def accept(self) -> Any:
        """Fail, or accept."""
        if self.codes:
            raise OSError(self.codes.pop(0), "a failure")
        return super().accept()


async def open_broken(*codes: int) -> BrokenListener:
    """A listener on a port of its own that fails so many times first."""
    (listener,) = await open_listeners("127.0.0.1", 0)
    broken = BrokenListener(fileno=listener.detach())
    broken.setblocking(False)
    broken.codes = list(codes)
    return broken


async def test_running_out_of_files_does_not_end_accepting(nursery: trio.Nursery) -> None:
    """EMFILE and its kin pass; the connection that waited is accepted when there is room."""
    served = trio.Event()

    async def serve(sock: socket.socket, _address: str) -> None:
        served.set()
        sock.close()

    listener = await open_broken(errno.EMFILE, errno.ECONNABORTED, errno.ENFILE)
    nursery.start_soon(run_listener, listener, nursery, serve)
    with socket.create_connection(listener.getsockname()):
        await served.wait()
    nursery.cancel_scope.cancel()


async def test_a_listener_that_is_broken_is_a_surprise() -> None:
    """What is not about room ends the node, which the supervisor starts again."""

    async def serve(_sock: socket.socket, _address: str) -> None:
        raise AssertionError

    listener = await open_broken(errno.EBADF)
    async with trio.open_nursery() as nursery:
        with pytest.raises(OSError, match="a failure"):
            await run_listener(listener, nursery, serve)
