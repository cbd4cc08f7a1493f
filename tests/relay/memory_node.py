"""A relay node over the memory stores, with the cast ready to call it.

Two stages over one `Memory` and one bus are two nodes of a fleet.
"""

import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import asdict

from domain.events import Event
from domain.people import model as people_model
from domain.people.events import DeviceConnected
from domain.people.tickets import TicketIssuer
from domain.ports import Stores
from domain.talk import model as talk
from relay.connection.serve import serve_connection
from relay.node import start_services
from relay.services import Dependencies, Services, make_services
from settings.relay import RelaySettings
from simulation.stores import open_memory_stores
from simulation.stores.bus import RecordingBus
from simulation.stores.clock import DeterministicEntropy, ManualClock
from simulation.stores.interference import Interference
from simulation.stores.memory import FIRST_EPOCH, Memory
from tests.cast import CastDevice, Person, open_conversation, settle
from tests.relay.client import StreamClient
from varde_contract import frames as f
from varde_contract.ids import ClientId, ConversationId, uuid7
from varde_contract.kem import MlKemKeyPair
from varde_contract.noise import KeyPair
from varde_contract.session import PROTOCOL_VERSION, ClientSession, Pattern
from varde_contract.talk import ConversationKind

RELAY_KEM: Final = MlKemKeyPair(hashlib.sha512(b"the relay of the tests").digest())
RELAY_KEY: Final = KeyPair.from_private(hashlib.sha256(b"the relay of the tests").digest())
TICKET_KEY: Final = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"the tickets of the tests").digest())
KEPT: Final = (f.EpochHead(FIRST_EPOCH, 0),)
"""What `joined` says of a store that never lost anything."""
ADDRESS: Final = "192.0.2.1"


@dataclass(frozen=True)
class Backend:
    """What nodes of one fleet share."""

    memory: Memory
    bus: RecordingBus
    interference: Interference
    stores: Stores
    clock: ManualClock
    entropy: DeterministicEntropy

    @property
    def published(self) -> list[Event]:
        """The events on the bus, without those that say who has connected."""
        return [event for event in self.bus.published if not isinstance(event, DeviceConnected)]


def make_backend() -> Backend:
    """Make empty stores."""
    clock = ManualClock()
    memory, bus, interference = Memory(clock=clock), RecordingBus(), Interference()
    stores = open_memory_stores(interference=interference, bus=bus, memory=memory)
    return Backend(memory, bus, interference, stores, clock, DeterministicEntropy())


@dataclass(frozen=True)
class MemoryNode:
    """One running node. `nursery` holds its connections, `sockets` closes their other ends."""

    backend: Backend
    services: Services
    nursery: trio.Nursery
    sockets: ExitStack

    def ticket(self, device: CastDevice, **changes: Any) -> str:
        """Issue a ticket for a device, perhaps with something in it changed."""
        issuer = TicketIssuer(TICKET_KEY.private_bytes_raw(), entropy=self.services.entropy)
        model = people_model.Device(**{**asdict(device.model), **changes})
        return issuer.issue(model, read_ms=self.services.clock()).text

    def open_client(
        self,
        device: CastDevice,
        pattern: Pattern = Pattern.XX,
        *,
        ticket: str | None = None,
        hello: f.Hello | None = None,
    ) -> StreamClient:
        """Open a connection, nothing said yet."""
        hello = hello or f.Hello(PROTOCOL_VERSION, ticket or self.ticket(device), device.id)
        session = ClientSession(
            device.noise,
            hello,
            relay_key=RELAY_KEY.public,
            pattern=pattern,
            relay_kem=RELAY_KEM.public if pattern.post_quantum else None,
        )
        return StreamClient(self.open_stream(), session)

    def open_stream(self, address: str = ADDRESS, *, narrow: bool = False) -> trio.SocketStream:
        """Open a bare byte stream to the node; `narrow` holds next to nothing of what was not read yet."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        if narrow:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        self.nursery.start_soon(serve_connection, self.services, theirs, address)
        self.sockets.enter_context(ours)
        return trio.SocketStream(trio.socket.from_stdlib_socket(ours))

    async def connect_client(self, device: CastDevice, pattern: Pattern = Pattern.XX) -> StreamClient:
        """Connect a device as far as its Welcome."""
        client = self.open_client(device, pattern)
        await client.connect()
        return client

    async def listen(self, device: CastDevice, *conversations: ConversationId) -> StreamClient:
        """Connect a device that has joined these conversations and has heard their backlog, of no messages."""
        client = await self.connect_client(device)
        for conversation in conversations:
            await client.send(f.Join(conversation))
            await client.receive(f.Joined)
        assert await client.receive_pending() == []
        return client


@asynccontextmanager
async def open_node(backend: Backend, **changes: Any) -> AsyncIterator[MemoryNode]:
    """Run a node until the block ends, with the product's settings but for `changes`, and without pauses."""
    settings = replace(
        RelaySettings(strict=True, receipts_pause=0.0, presence_pause=0.0, announce_pause=0.0, changes_pause=0.0),
        **changes,
    )
    dependencies = Dependencies(
        static=RELAY_KEY,
        kem=RELAY_KEM,
        ticket_publics=[TICKET_KEY.public_key().public_bytes_raw()],
        clock=backend.clock,
        monotonic_clock=backend.clock,
        entropy=backend.entropy,
        random=Random(1),  # noqa: S311 - it spreads load, and is to do so the same way each time
    )
    services = make_services(settings, backend.stores, dependencies)
    with ExitStack() as sockets, services.bridge.listen(backend.bus):
        await services.revocations.load()
        await services.peer_nodes.beat()
        async with trio.open_nursery() as running:
            start_services(services, running)
            async with trio.open_nursery() as connections:
                yield MemoryNode(backend, services, connections, sockets)
                connections.cancel_scope.cancel()
            running.cancel_scope.cancel()


class Sends:
    """Makes sends with client ids of their own."""

    def __init__(self) -> None:
        self._count = 0

    def client_id(self) -> ClientId:
        """The next one."""
        self._count += 1
        return ClientId(uuid7(self._count, hashlib.sha256(str(self._count).encode()).digest()[:10]))

    def group(self, roster: talk.Roster, person: Person, sealed: bytes = b"sealed for all") -> f.Send:
        """One ciphertext for all."""
        return f.Send(self.client_id(), roster.conversation, person.profile, roster.version, group=sealed)

    def each(self, roster: talk.Roster, person: Person, sender: CastDevice) -> f.Send:
        """One ciphertext per device, which says whose it is."""
        devices = {device: b"sealed for " + device.bytes for device in roster.devices if device != sender.id}
        return f.Send(self.client_id(), roster.conversation, person.profile, roster.version, devices=devices)


async def open_room(backend: Backend, *people: Person, kind: ConversationKind = ConversationKind.GROUP) -> talk.Roster:
    """Settle these people and open their conversation; return its roster."""
    for person in people:
        if person.account not in backend.memory.accounts:
            await settle(backend.stores, person)
    return await roster_now(backend, await open_conversation(backend.stores, *people, kind=kind))


async def roster_now(backend: Backend, conversation: ConversationId) -> talk.Roster:
    """Return a roster as it is."""
    return (await backend.stores.conversations.rosters([conversation]))[conversation]


def waiting_bytes(node: MemoryNode) -> int:
    """What the journal believes to be waiting."""
    return sum(shard.size for shard in node.services.journal._shards)
