"""Varde as a durable server: the load suite's stack, with a real Postgres (fsync on) and one relay, and its crowd."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from bench.catalogue import VARDE
from bench.durable.load import DurableClient, DurableServer, Load
from loadtest.client.protocol import PATH, Ending, RelayClient
from loadtest.client.websocket import ServerFault
from loadtest.crowd.crowd import Crowd, Seat, read_crowd, run_seeding
from loadtest.exits import CouldNotRun
from loadtest.ledger.ledger import Draft
from loadtest.stack.stack import Stack, open_stack
from varde_contract import frames as f
from varde_contract.codec import encode_frame
from varde_contract.ids import ClientId, uuid7
from varde_contract.noise import KeyPair
from varde_contract.session import PROTOCOL_VERSION

POSTGRES: Final = "postgres"
_CROWD: Final = "crowd.msgpack"


class VardeClient(DurableClient):
    """One device. It joins its conversation, sends to its partner's device, and confirms what it gets."""

    __slots__ = ("_client_ms", "_partner", "_relay", "_room", "_seat", "_upto")

    def __init__(self, number: int, load: Load, crowd: Crowd, authority: str) -> None:
        super().__init__(number, load)
        self._seat: Seat = crowd.seats[number]
        self._partner, self._room = crowd.seats[number ^ 1].device, crowd.rooms[number // 2]
        hello = f.Hello(PROTOCOL_VERSION, self._seat.ticket, self._seat.device)
        static = KeyPair.from_private(self._seat.noise_private)
        self._relay = RelayClient(authority, PATH, hello, static, crowd.relay_key)
        # A device that comes back must not use a client id again, so they count on from the time.
        self._client_ms, self._upto = time.time_ns() // 1_000_000, 0

    def open(self) -> bytes:
        """Return the upgrade."""
        return self._relay.open()

    def receive(self, received: bytes) -> bytes:
        """Return what the protocol has to say."""
        welcomed = self._relay.live
        for event in self._relay.receive(received):
            self._take(event)
        reply = self._relay.take_reply()
        return reply + self._relay.send(f.Join()) if self._relay.live and not welcomed else reply

    def send(self, draft: Draft) -> bytes:
        """Return `msg:send` to the partner's device."""
        self._client_ms += 1
        client = ClientId(uuid7(self._client_ms, self._seat.device.bytes[6:]))
        self._note_sent(client, draft)
        devices = {self._partner: draft.payload}
        frame = f.Send(client, self._room.conversation, self._seat.profile, self._room.roster_version, devices=devices)
        return self._relay.send_encoded(f.Send, encode_frame(frame))

    def confirm(self) -> bytes:
        """Return `receipt:delivered` up to the last number that came."""
        upto, self._upto = self._upto, 0
        return self._relay.send(f.Delivered(self._room.conversation, upto))

    def leave(self) -> bytes:
        """Return a close frame."""
        return self._relay.close()

    def _take(self, event: f.ServerFrame | Ending) -> None:
        match event:
            case f.New():
                self._note_received(event.ciphertext)
                if not self._upto:
                    self._load.owe(self)
                self._upto = event.seq
            case f.Ack():
                self._note_answer(event.client_id)
            case f.RefusedFrame(about="msg:send") if event.subject:
                self._note_answer(event.subject, event.code.value)
            case f.Joined():
                self.ready = True
            case Ending():
                self.lost(f"the relay closed it with {event.code}")
            case f.Goaway() | f.RefusedFrame():
                raise ServerFault(f"the relay said {event!r}")
            case _:
                pass  # own numbers as gaps, receipts of the partner


@contextmanager
def open_varde(folder: Path, clients: int, *, tls: bool = False) -> Iterator[DurableServer]:
    """Run the system in `folder`. Opened again there, it has the same people. Raises ServerFault."""
    try:
        with open_stack(folder, tls=tls) as stack:
            yield _server_of(stack, _crowd_of(stack, folder / _CROWD, clients))
    except CouldNotRun as failure:
        raise ServerFault(str(failure)) from failure


def _server_of(stack: Stack, crowd: Crowd) -> DurableServer:
    authority = urlsplit(stack.relay_url).netloc
    settings = {
        "transport": "WebSocket, Noise" if stack.authority is None else "TLS 1.3, WebSocket, Noise",
        "durability": "the ack waits for the commit: PostgreSQL 18, fsync and synchronous_commit on",
        "connections": str(len(crowd.seats)),
    }
    pids = {VARDE: stack.pids["relay-1"], POSTGRES: stack.pids[POSTGRES]}

    def client(number: int, load: Load) -> VardeClient:
        return VardeClient(number, load, crowd, authority)

    def kill_node() -> None:
        stack.kill_node()
        pids[VARDE] = stack.pids["relay-1"]

    port, supervisor = int(authority.rpartition(":")[2]), psutil.Process(pids[VARDE]).ppid()
    return DurableServer(port, client, pids, settings, stack.authority, supervisor, kill_node)


def _crowd_of(stack: Stack, path: Path, clients: int) -> Crowd:
    return read_crowd(path) if path.exists() else run_seeding(stack.order(clients, path))
