"""What a durable server is given to do: pairs of clients, their messages on time, and the load suite's ledger of them.

Clients 0 and 1 are a pair, 2 and 3, and so on; a pair is a room of the ledger.
"""

import os
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID

import psutil
from msgspec import Struct

from bench.connections import Client, Connections
from bench.server import VARDE, cpu_seconds, tree_of
from loadtest.client.protocol import PATH, Ending, RelayClient
from loadtest.client.websocket import ServerFault
from loadtest.crowd.crowd import Crowd, Room, Seat, read_crowd, run_seeding
from loadtest.exits import CouldNotRun
from loadtest.ledger.ledger import Draft, Ledger, PayloadCipher
from loadtest.ledger.reports import Account, Totals, read, reconcile
from loadtest.ledger.run_time import RunClock, Schedule
from loadtest.stack.certificate import trust
from loadtest.stack.stack import Stack, open_stack
from varde_contract import frames as f
from varde_contract.codec import encode_frame
from varde_contract.ids import ClientId, ConversationId, uuid7
from varde_contract.noise import KeyPair
from varde_contract.session import PROTOCOL_VERSION

PAYLOAD_BYTES: Final = 256
SECOND_NS: Final = 1_000_000_000
CONFIRM_AFTER: Final = 1.0  # seconds that confirmations may gather, as the protocol advises clients
PER_ADDRESS: Final = 10  # connections from one address, as the load suite has it: below what a relay allows each
_SEED: Final = 7_395
_GLANCE: Final = 0.05
_PASS_MESSAGES: Final = 64  # sent between two looks at what has come, however late: acks shall not wait behind sends
_KILL_SECONDS: Final = 5.0


class DurableClient(Client):
    """One client. Each message that the server acks, refuses or delivers goes into the load's ledger."""

    __slots__ = ("_load", "_sent")

    def __init__(self, number: int, load: "Load") -> None:
        super().__init__(number)
        self._load = load
        self._sent: dict[object, tuple[Ledger, int]] = {}
        """What the server has not answered for, by what it calls a message. A ledger is of one rate."""

    @abstractmethod
    def send(self, draft: Draft) -> bytes:
        """Return the bytes that send one message to the partner."""

    def confirm(self) -> bytes:
        """Return the bytes that confirm what came, a second after the client called `Load.owe`."""
        return b""

    def leave(self) -> bytes:
        """Return the bytes that say good-bye."""
        return b""

    def _note_sent(self, name: object, draft: Draft) -> None:
        self._sent[name] = self._load.ledger, draft.seq

    def _note_answer(self, name: object, refusal: str | None = None) -> None:
        ledger, seq = self._sent.pop(name, (None, 0))  # a second answer counts for nothing
        if ledger is not None and refusal is None:
            ledger.ack(self.number, self.number // 2, seq)
        elif ledger is not None:
            ledger.refuse(self.number, self.number // 2, seq, str(refusal))

    def _note_received(self, payload: bytes) -> None:
        self._load.ledger.receive(self.number, self.number // 2, payload)


class DurableServer(Struct, frozen=True):
    """One server that runs. `pids` are its processes by name, which are counted apart; the first is the server itself.

    `settings` is what a reader of the figures should know, such as the transport.
    """

    port: int
    client: "Callable[[int, Load], DurableClient]"
    pids: dict[str, int]
    settings: dict[str, str]
    authority: Path | None = None
    """PEM: whom to trust over TLS; None for plain TCP."""
    supervisor: int | None = None
    """The process that would start the others again when they are killed."""
    kill_node: Callable[[], None] = lambda: None
    """Kill the relay, and return when the supervisor has started it again: only of Varde."""

    def cpu_seconds(self) -> dict[str, float]:
        """Return what each process has used so far."""
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def kill(self) -> None:
        """SIGKILL everything at once, as a power cut would, but for what the kernel has of its files."""
        roots = [pid for pid in (self.supervisor, *self.pids.values()) if pid is not None]
        killed = [each for pid in roots for each in tree_of(pid)]
        for process in killed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(killed, timeout=_KILL_SECONDS)


Open: TypeAlias = Callable[[Path, int], AbstractContextManager[DurableServer]]
"""Run a server in a folder, for so many clients; perhaps again in the same folder. Raises Missing, ServerFault."""


class Due(NamedTuple):
    """One message: when it should be sent, in nanoseconds from the start, and by which client."""

    at_ns: int
    sender: int


def draw_schedule(rate: float, seconds: float, clients: Sequence[int]) -> Iterator[Due]:
    """Draw the messages of `seconds` at `rate` a second: Poisson, every client in turn in a shuffled order.

    The same for every server, so all are asked the same.
    """
    schedule, order = Schedule(0, seed=_SEED), list(clients)
    Random(_SEED).shuffle(order)  # noqa: S311 - it spreads load
    schedule.change(0, rate)
    place = 0
    while (at := schedule.next_ns()) is not None and at < seconds * SECOND_NS:
        schedule.take()
        yield Due(at, order[place])
        place = (place + 1) % len(order)


def open_ledger() -> Ledger:
    """Return an empty ledger, whose payloads are those of no other."""
    return Ledger(RunClock(), PayloadCipher(os.urandom(32), int.from_bytes(os.urandom(7), "big")))


class Load(Connections):
    """Clients of one server. `ledger` may be another one for each rate. Leaving the block closes the connections."""

    def __init__(self, server: DurableServer, clients: int, ledger: Ledger | None = None) -> None:
        context = None if server.authority is None else trust(server.authority)
        super().__init__(server.port, context, addresses=-(-clients // PER_ADDRESS))
        self.server, self.clients = server, clients
        self.ledger = open_ledger() if ledger is None else ledger
        self._ready: dict[int, DurableClient] = {}
        self._owing: deque[tuple[float, DurableClient]] = deque()

    def connect(self, numbers: Iterable[int], **how: Any) -> None:
        """Connect these clients, with what else `open` takes. Raises ServerFault."""
        clients = self.open((self.server.client(number, self) for number in numbers), **how)
        self._ready |= {client.number: client for client in clients}

    def run(self, schedule: Iterator[Due], start_ns: int) -> tuple[float, float]:
        """Send what is due from `start_ns` on, until the schedule ends; return the seconds, and those of own CPU."""
        began, used = time.monotonic(), time.process_time()
        due = next(schedule, None)
        while due is not None:
            now_ns, left = time.monotonic_ns() - start_ns, _PASS_MESSAGES
            while due is not None and due.at_ns <= now_ns and left:
                client = self._ready[due.sender]
                draft = self.ledger.draw(due.sender, due.sender // 2, start_ns + due.at_ns, PAYLOAD_BYTES, 1)
                client.connection.send(client.send(draft))
                due, left = next(schedule, None), left - 1
            if due is not None:
                self.poll(min(_GLANCE, max(0.0, (due.at_ns - (time.monotonic_ns() - start_ns)) / SECOND_NS)))
        return time.monotonic() - began, time.process_time() - used

    def poll(self, wait: float = _GLANCE) -> None:
        """Serve the connections, after waiting so many seconds at most, and confirm what has waited for a second."""
        super().poll(wait)
        self._confirm(time.monotonic())

    def owe(self, client: DurableClient) -> None:
        """Have a client asked for its confirmation in a second."""
        self._owing.append((time.monotonic() + CONFIRM_AFTER, client))

    def settle(self, seconds: float) -> Account:
        """Receive until nothing is under way, for so long at most; confirm what is owed; return what became of all."""
        total, end = read(self.ledger.tick(), Totals), time.monotonic() + seconds
        while (
            (sums := total.sum_of()).received + sums.refused < sums.sent or total.pending
        ) and time.monotonic() < end:
            self.poll()
            total.merge(read(self.ledger.tick(), Totals))
        self._confirm(float("inf"))
        return reconcile([self.ledger.report()], pairs(self.clients))

    def leave(self, seconds: float) -> None:
        """Say good-bye on all connections, and wait so long for the server to hang up."""
        for client in self._ready.values():
            client.connection.send(client.leave())
        self.drain(seconds)

    def _confirm(self, upto: float) -> None:
        while self._owing and self._owing[0][0] <= upto:
            client = self._owing.popleft()[1]
            client.connection.send(client.confirm())


def pairs(clients: int) -> list[Room]:
    """Return the rooms of so many clients."""
    return [Room(ConversationId(UUID(int=one)), (one, one + 1), 1, group=False) for one in range(0, clients, 2)]


def survival_of(ledger: Ledger, clients: int) -> dict[str, int]:
    """Return how many messages were `sent`, how many `acked`, and how many of those were not delivered."""
    account = reconcile([ledger.report()], pairs(clients))
    return {"sent": account.messages.sent, "acked": account.messages.acked, "lost_after_ack": account.messages.lost}


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
