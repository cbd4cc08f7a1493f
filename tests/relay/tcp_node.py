"""A relay node on TCP, the whole of `run_node`."""

import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import trio

from domain.people.tickets import TicketIssuer
from domain.ports import Stores
from relay.node import run_node
from relay.services import Dependencies
from settings.relay import RelaySettings
from simulation.stores.clock import DeterministicEntropy, ManualClock
from tests.cast import CastDevice
from tests.relay.library_clients import Credentials
from tests.relay.memory_node import RELAY_KEM, RELAY_KEY, TICKET_KEY
from tls.certificate import TlsCertificate
from varde_contract import frames as f
from varde_contract.session import PROTOCOL_VERSION, Pattern


@dataclass
class TcpNode:
    """A node that runs, where it listens, and how to stop it."""

    address: str
    clock: ManualClock
    stop: trio.Event
    ended: trio.Event
    scheme: str = "ws"

    async def open_stream(self) -> trio.SocketStream:
        """Open a bare TCP stream."""
        host, _, port = self.address.rpartition(":")
        return await trio.open_tcp_stream(host, int(port))

    @property
    def url(self) -> str:
        """Where guests come in."""
        return f"{self.scheme}://{self.address}/v1/relay"

    def credentials(self, device: CastDevice, pattern: Pattern = Pattern.IK) -> Credentials:
        """What a device comes in with: a good ticket."""
        issuer = TicketIssuer(TICKET_KEY.private_bytes_raw(), entropy=DeterministicEntropy())
        hello = f.Hello(PROTOCOL_VERSION, issuer.issue(device.model, read_ms=self.clock()).text, device.id)
        return Credentials(device.noise, hello, RELAY_KEY.public, pattern)


@asynccontextmanager
async def open_tcp_node(
    stores: Stores, *, certificate: TlsCertificate | None = None, **changes: Any
) -> AsyncIterator[TcpNode]:
    """Run a node on a port of its own until the block ends. With a certificate, TLS ends in it."""
    settings = RelaySettings(**{"port": 0, "strict": True, "close_grace": 2.0, "drain_deadline": 1.0, **changes})
    clock, stop, ended = ManualClock(), trio.Event(), trio.Event()
    dependencies = Dependencies(
        static=RELAY_KEY,
        kem=RELAY_KEM,
        ticket_publics=[TICKET_KEY.public_key().public_bytes_raw()],
        clock=clock,
        monotonic_clock=clock,
        entropy=os.urandom,  # two nodes must not have one name
        random=Random(1),  # noqa: S311 - it spreads load
        certificate=certificate,
    )

    async def run(task_status: trio.TaskStatus[str]) -> None:
        await run_node(settings, stores, dependencies, stop, task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        address = await nursery.start(run)
        yield TcpNode(address, clock, stop, ended, "ws" if certificate is None else "wss")
        nursery.cancel_scope.cancel()
    gc.freeze()  # the node has thawed at its end what tests/conftest.py had frozen
