"""What the conformance tests ask for by name: a live relay, and ways into it."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from chaos.certificates import Authority, issue
from settings.tls import TlsFiles
from simulation.stores import open_memory_stores
from simulation.stores.bus import RecordingBus
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from storage.program import read_clock
from tests.cast import CastDevice, alice, enrol, open_conversation, settle
from tests.conformance.raw_client import RawClient
from tests.conformance.runner import PATIENCE, ConnectClient
from tests.relay.tcp_node import TcpNode, open_tcp_node
from tls.certificate import TlsCertificate
from varde_contract.ids import ConversationId

DEVICES: Final = tuple(alice.further_device(f"tablet-{number}") for number in range(6))
"""So many connections play at a time: a device has one."""
MANY: Final = 1_000_000
UNLIMITED: Final[dict[str, Any]] = {
    "frames_per_second": MANY,
    "bytes_per_second": 1 << 40,
    "connects_per_second": float(MANY),
    "close_grace": 2 * PATIENCE,  # an end that is only reached by it is a hang
}


@dataclass(frozen=True)
class RelayUnderTest:
    """A relay on TCP that has no limits in the way, and a conversation that all devices are in."""

    node: TcpNode
    conversation: ConversationId
    tls: ssl.SSLContext | None = None

    async def open_stream(self) -> trio.abc.Stream:
        """Open a byte stream: behind TLS, where it ends in the relay."""
        stream = await self.node.open_stream()
        if self.tls is None:
            return stream
        return trio.SSLStream(stream, self.tls, server_hostname="127.0.0.1", https_compatible=False)

    async def open_client(self, device: int) -> RawClient:
        """Open a connection for a device, nothing said yet."""
        return RawClient(await self.open_stream(), self.node.credentials(DEVICES[device]).session(), self.conversation)

    async def connect_client(self, device: int) -> RawClient:
        """Open an authenticated connection."""
        client = await self.open_client(device)
        await client.connect()
        return client


@asynccontextmanager
async def open_relay(
    devices: Sequence[CastDevice] = DEVICES,
    certificate: TlsCertificate | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[RelayUnderTest]:
    """A scene over memory stores."""
    memory, bus = Memory(), RecordingBus()
    stores = open_memory_stores(interference=Interference(), bus=bus, memory=memory)
    await settle(stores, alice)
    for device in devices:
        await enrol(stores, device)
    conversation = await open_conversation(stores, alice)
    async with open_tcp_node(stores, certificate=certificate, **UNLIMITED) as node:
        yield RelayUnderTest(node, conversation, tls)


@pytest.fixture
async def relay() -> AsyncIterator[RelayUnderTest]:
    """A scene of the test's own."""
    async with open_relay() as relay:
        yield relay


@pytest.fixture
def connect_client(relay: RelayUnderTest) -> ConnectClient:
    """Opens authenticated connections."""
    return relay.connect_client


@pytest.fixture
async def tls_relay(tmp_path: Path) -> AsyncIterator[RelayUnderTest]:
    """The same, with TLS that ends in the relay."""
    authority = Authority()
    certificate = TlsCertificate(TlsFiles(*issue(authority, tmp_path)), read_clock)
    async with open_relay(certificate=certificate, tls=authority.trusting()) as relay:
        yield relay
