"""What a small message waits while a room of 5,000 is flooded on the same server, and what it waits when it is not.

Two people exchange one small message each hundredth of a second, timed from when it should have left. The flooded room
has a process of its own, a less urgent one, so that what the pair waits for is the server and not the load.
"""

import os
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from itertools import repeat
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from bench.catalogue import CATALOGUE, VARDE, missing
from bench.clients import Member
from bench.connections import Connections
from bench.durable.load import SECOND_NS
from bench.durable.measure import EXPECTED
from bench.durable.rates import figures_of
from bench.fanout import BUSY, PAIR, measure_window
from bench.keys import make_members
from bench.measured_server import MeasuredServer, Workplace, open_measured_server
from bench.process import NoServer, Server
from bench.rooms import Plan
from loadtest.client.websocket import ServerFault
from loadtest.ledger.histogram import Histogram
from loadtest.stack.certificate import make_certificate

SERVERS: Final = (VARDE, "picows", "websockets")
GAP_NS: Final = 10_000_000
NICENESS: Final = 10
SETTLING: Final = 10.0
_PAUSE: Final = 0.25
_SPIN: Final = 0.001  # the last millisecond before a message is due is spent looking: a wait may end late


class Flood(Struct, frozen=True):
    """How large and how long: `rate` messages a second into the room. Seconds."""

    listeners: int = 5_000
    rate: float = 20.0
    warm_up: float = 2.0
    measured: float = 8.0

    @property
    def plan(self) -> Plan:
        """A room of so many, one of whom floods it, and the pair's room."""
        return Plan(f"1x{self.listeners},1x{PAIR}")


def measure_flood(name: str, flood: Flood) -> dict[str, Any]:
    """Return the pair's latencies at one server, calm and flooded; or in words what is `missing` or has `failed`."""
    with tempfile.TemporaryDirectory(prefix="varde-bench-") as place:
        folder, entry = Path(place), CATALOGUE[name]
        lacking = missing(entry, folder)
        if lacking is not None:
            return {"missing": lacking}
        try:
            workplace = Workplace((None, None), folder, make_certificate(folder))
            with open_measured_server(workplace, entry, flood.plan) as measured:
                return _measure(measured, flood, folder)
        except (NoServer, EOFError, *EXPECTED) as fault:
            return {"failed": str(fault) or "the listeners of the flooded room failed"}


def _measure(measured: MeasuredServer, flood: Flood, folder: Path) -> dict[str, Any]:
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    arguments = (theirs, measured.entry.name, measured.server.pid, measured.server.port, folder, flood)
    room = spawn.Process(target=_flood_room, args=arguments, daemon=True)
    room.start()
    theirs.close()
    try:
        ours.recv()
        clients = measured.clients(measured.plan.blocks[PAIR])
        pair = measured.connections.open(clients)
        _wait_until_live(measured, pair)
        calm = _exchange(measured, pair, flood.measured)
        ours.send(None)
        _exchange(measured, pair, flood.warm_up)
        return {"calm": calm, "flooded": _exchange(measured, pair, flood.measured), "flood": ours.recv()}
    finally:
        room.kill()
        room.join()


def _flood_room(pipe: Pipe, name: str, pid: int, port: int, folder: Path, flood: Flood) -> None:
    """Connect the listeners and say so, flood them when told, and say what happened."""
    os.nice(NICENESS)
    server, keys = Server(pid, port), make_members(folder, flood.plan.members) if name == VARDE else None
    with Connections(port) as connections:
        measured = MeasuredServer(CATALOGUE[name], server, connections, flood.plan, keys)
        clients = measured.clients(flood.plan.blocks[flood.listeners])
        members = connections.open(clients)
        pipe.send(len(members))
        while not pipe.poll():  # the pings of the quiet time before must be answered too
            connections.poll(0.02)
        pace = flood.warm_up, flood.measured
        window = measure_window(server, connections, members, repeat(members[0]), flood.rate, pace)
    figures = {
        "deliveries_per_second": window["deliveries_per_second"],
        "server_cores": window["server_load"],
        "generator_cores": window["generator_load"],
        "generator_bound": window["generator_load"] > BUSY,
        "sent": window["sent"],
        "held_back": window["held_back"],
    }
    pipe.send(figures)


def _wait_until_live(measured: MeasuredServer, pair: Sequence[Member]) -> None:
    """Let one send until the other receives, and then nothing more. Raises ServerFault when nothing ever comes.

    A room is joined a little before its listener is live. What is sent in between is read from the log, and the node
    of this benchmark keeps none.
    """
    sender, receiver = pair
    before, end = receiver.deliveries, time.monotonic() + SETTLING
    while receiver.deliveries == before:
        if time.monotonic() > end:
            raise ServerFault("nothing that one of the pair sends reaches the other")
        sender.connection.send(sender.message())
        measured.connections.poll_for(_PAUSE)
    measured.connections.poll_for(_PAUSE)


def _exchange(measured: MeasuredServer, pair: Sequence[Member], seconds: float) -> dict[str, Any]:
    """Let one send to the other for so long; `missing` had not come some seconds after the last one was sent."""
    sender, receiver = pair
    latencies, under_way, received = Histogram(), deque[int](), receiver.deliveries
    due = time.monotonic_ns()
    end = due + int(seconds * SECOND_NS)
    patience = end + int(SETTLING * SECOND_NS)
    while (now := time.monotonic_ns()) < patience and (due < end or under_way):
        if due < end and now >= due:
            sender.connection.send(sender.message())
            under_way.append(due)
            due += GAP_NS
        measured.connections.poll(max(0.0, (due - time.monotonic_ns()) / SECOND_NS - _SPIN) if due < end else 0.05)
        now = time.monotonic_ns()
        for _ in range(receiver.deliveries - received):
            latencies.record(now - under_way.popleft())
        received = receiver.deliveries
    return {**figures_of(latencies.latency()), "missing": len(under_way)}
