"""A node on a real port, two honest people who talk all the while, and a look at what it holds for everybody."""

import gc
import os
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

import trio

from domain.people.tickets import TicketIssuer
from domain.talk import model as talk
from relay.connection.serve import serve_connection
from relay.node import start_services
from relay.services import Dependencies, Services, make_services
from relay.socket.listeners import open_listeners, run_listener
from relay.socket.transport import Transport
from settings.relay import RelaySettings
from simulation.stores.clock import ManualClock
from tests.cast import CastDevice, alice, alice_laptop, bob, bob_phone, carol, open_conversation, settle
from tests.relay.client import StreamClient
from tests.relay.memory_node import RELAY_KEY, TICKET_KEY, Backend, Sends, make_backend
from tests.relay.metrics_reader import Difference, Samples, scrape
from varde_contract import frames as f
from varde_contract.noise import KeyPair
from varde_contract.session import PROTOCOL_VERSION, ClientSession, Pattern

HONEST: Final = "127.0.0.1"
HOSTILE: Final = "127.0.0.2"
"""Another address of this machine, and another network to the node."""
PATIENCE: Final = 30.0
"""Seconds after which a test is given up: nothing here takes a tenth of it."""
SMALL: Final = 4_096


class CountingKeys(KeyPair):
    """The relay's key pair, which remembers how often a handshake made use of it."""

    used = 0

    def exchange(self, public: bytes) -> bytes:
        """Count, and do it."""
        type(self).used += 1
        return super().exchange(public)


@dataclass
class AttackedNode:
    """Alice's laptop and Bob's phone are connected and listen. `before` is what was counted until then.

    Who floods is Carol: connections of one account share its limits, so that Alice's phone would silence her laptop.
    """

    services: Services
    backend: Backend
    port: int
    roster: talk.Roster
    sends: Sends
    sockets: ExitStack
    laptop: StreamClient
    phone: StreamClient
    before: Samples

    async def open_stream(self, address: str = HOSTILE, *, narrow: bool = False) -> trio.SocketStream:
        """Connect from an address of this machine; `narrow` takes in next to nothing of what it does not read."""
        return await _open_stream(self.port, self.sockets, address, narrow=narrow)

    async def open_client(
        self, device: CastDevice, pattern: Pattern = Pattern.XX, *, address: str = HOSTILE, narrow: bool = False
    ) -> StreamClient:
        """Connect a device, nothing said yet."""
        return StreamClient(await self.open_stream(address, narrow=narrow), _session(device, pattern, self.services))

    async def connect_client(
        self, device: CastDevice, pattern: Pattern = Pattern.XX, *, narrow: bool = False
    ) -> StreamClient:
        """Connect a device as far as its Welcome."""
        client = await self.open_client(device, pattern, narrow=narrow)
        await client.connect()
        return client

    async def talk(self, sealed: bytes = b"sealed") -> None:
        """Let a message travel from one honest client to the other, and its ack back."""
        await self.laptop.send(self.sends.group(self.roster, alice, sealed))
        assert isinstance(await self.phone.receive(f.New), f.New)
        assert {type(frame) for frame in await self.laptop.receive_many(2)} == {f.Ack, f.Gap}

    async def moved(self) -> Difference:
        """Return what was counted since everybody honest was there."""
        return Difference(self.before, await scrape(self.services))

    def largest(self) -> int:
        """Return the bytes that the node holds for the connection for which it holds most."""
        wires = [thing for thing in gc.get_objects() if type(thing) is Transport]
        return max((_held(transport) for transport in wires if transport._socket.fileno() >= 0), default=0)


def _held(transport: Transport) -> int:
    websocket, http = transport.websocket, transport.http
    parsers = [websocket._protocol, http._parser if http else None]
    buffered = sum(len(parser.reader.buffer) for parser in parsers if parser is not None)
    parts = [transport.unsent, websocket._rest or b"", *(websocket._fragments or ()), *websocket._messages]
    requested = len(http.rest) + http.pending if http else 0
    return sum(map(len, parts)) + buffered + websocket.pending + requested


def _session(device: CastDevice, pattern: Pattern, services: Services) -> ClientSession:
    issuer = TicketIssuer(TICKET_KEY.private_bytes_raw(), entropy=services.entropy)
    hello = f.Hello(PROTOCOL_VERSION, issuer.issue(device.model, read_ms=services.clock()).text, device.id)
    return ClientSession(device.noise, hello, relay_key=RELAY_KEY.public, pattern=pattern)


async def _open_stream(port: int, sockets: ExitStack, address: str, *, narrow: bool = False) -> trio.SocketStream:
    sock = sockets.enter_context(trio.socket.socket())
    if narrow:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    await sock.bind((address, 0))
    await sock.connect((HONEST, port))
    return trio.SocketStream(sock)


def _make_services(backend: Backend, settings: dict[str, Any]) -> Services:
    settings = {"port": 0, "strict": True, "handshake_deadline": 1.0, "close_grace": 0.5, **settings}
    CountingKeys.used = 0
    dependencies = Dependencies(
        static=CountingKeys.from_private(RELAY_KEY.private_bytes()),
        ticket_publics=[TICKET_KEY.public_key().public_bytes_raw()],
        clock=ManualClock(),
        monotonic_clock=ManualClock(),
        entropy=os.urandom,
        random=Random(1),  # noqa: S311 - it spreads load
    )
    return make_services(RelaySettings(**settings), backend.stores, dependencies)


async def _listen(
    services: Services, sockets: ExitStack, port: int, device: CastDevice, roster: talk.Roster
) -> StreamClient:
    client = StreamClient(await _open_stream(port, sockets, HONEST), _session(device, Pattern.XX, services))
    await client.connect()
    await client.send(f.Join(roster.conversation))
    await client.receive(f.Joined)
    return client


@asynccontextmanager
async def open_attacked_node(**settings: Any) -> AsyncIterator[AttackedNode]:
    """Run a node until the block ends, and let nothing in it take for ever."""
    backend = make_backend()
    await settle(backend.stores, alice, bob, carol)
    conversation = await open_conversation(backend.stores, alice, bob, carol)
    roster = (await backend.stores.conversations.rosters([conversation]))[conversation]
    services = _make_services(backend, settings)
    with (
        trio.fail_after(PATIENCE),
        ExitStack() as sockets,
        services.bridge.listen(backend.bus),
    ):
        await services.revocations.load()
        (listener,) = await open_listeners(HONEST, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)  # as if every network were slow
        port = listener.getsockname()[1]
        async with trio.open_nursery() as running, trio.open_nursery() as connections:
            start_services(services, running)
            running.start_soon(run_listener, listener, connections, partial(serve_connection, services))
            laptop = await _listen(services, sockets, port, alice_laptop, roster)
            phone = await _listen(services, sockets, port, bob_phone, roster)
            before = await scrape(services)
            yield AttackedNode(services, backend, port, roster, Sends(), sockets, laptop, phone, before)
            connections.cancel_scope.cancel()
            running.cancel_scope.cancel()
