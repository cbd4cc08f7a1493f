"""What happens to everybody when much happens at once: a flooded room; a node killed with 10,000 people on it.

In the flood, two people exchange one small message each hundredth of a second, timed from when it should have left,
while another process floods a room of 5,000 on the same server, and while none does. That process is a less urgent one,
so that what the pair waits for is the server and not the load.
"""

import os
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import repeat
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Final

from msgspec import Struct

from bench.clients import MeasuredServer, Member, Workplace, open_measured_server
from bench.connections import Connections, quiet_collector
from bench.dimensions import BUSY, PAIR, measure_window
from bench.durable.load import POSTGRES, SECOND_NS, DurableServer, Load, open_varde
from bench.durable.measure import figures_of
from bench.results import Tree
from bench.run import Options
from bench.server import CATALOGUE, VARDE, Server, install
from loadtest.client.websocket import ServerFault
from loadtest.ledger.reports import Histogram
from loadtest.stack.certificate import make_certificate
from loadtest.stack.rooms import Plan, make_members

SERVERS: Final = (VARDE, "picows", "websockets")
GAP_NS: Final = 10_000_000
NICENESS: Final = 10  # of what floods: the pair shall wait for the server, and not for the load
SETTLING: Final = 10.0
_PAUSE: Final = 0.25
_SPIN: Final = 0.001  # the last millisecond before a message is due is spent looking: a wait may end late
CONNECTIONS: Final = 10_000
AT_ONCE: Final = 200
"""Handshakes in flight: below what the node takes at once (256), so that nobody is sent away to wait."""


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


def measure_storms(options: Options) -> Tree:
    """Return `flood` by server, and `recovery` of Varde, plain and with TLS."""
    found: Tree = {"flood": {}, "recovery": {}}
    for server in filter(options.wants, SERVERS):
        words = f"storms: {server}, a small message while a room of {Flood().listeners} is flooded"
        found["flood"][server] = options.attempt(words, partial(measure_flood, server, Flood()))
    for way in ("plain", "tls") if options.tls else ("plain",):
        if options.wants(VARDE):
            words = f"storms: {VARDE} is killed with {CONNECTIONS} connections, {way}"
            recovery = options.attempt(words, partial(measure_recovery, CONNECTIONS, tls=way == "tls"))
            found["recovery"].setdefault(VARDE, {})[way] = recovery
    return found


def measure_flood(name: str, flood: Flood) -> Tree:
    """Return the pair's latencies at one server, calm and flooded. Raises Missing, and what `FAULTS` names."""
    with tempfile.TemporaryDirectory(prefix="varde-bench-") as place:
        folder, entry = Path(place), CATALOGUE[name]
        install(entry, folder)
        workplace = Workplace((None, None), folder, make_certificate(folder))
        with open_measured_server(workplace, entry, flood.plan) as measured:
            return _measure(measured, flood, folder)


def _measure(measured: MeasuredServer, flood: Flood, folder: Path) -> Tree:
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    arguments = (theirs, measured.entry.name, measured.server, folder, flood)
    room = spawn.Process(target=_flood_room, args=arguments, daemon=True)
    room.start()
    theirs.close()
    try:
        ours.recv()
        pair = measured.connections.open(measured.clients(measured.plan.blocks[PAIR]))
        _wait_until_live(measured, pair)
        calm = _exchange(measured, pair, flood.measured)
        ours.send(None)
        _exchange(measured, pair, flood.warm_up)
        return {"calm": calm, "flooded": _exchange(measured, pair, flood.measured), "flood": ours.recv()}
    except EOFError:
        raise ServerFault("the listeners of the flooded room failed") from None
    finally:
        room.kill()
        room.join()


def _flood_room(pipe: Pipe, name: str, server: Server, folder: Path, flood: Flood) -> None:
    """Connect the listeners and say so, flood them when told, and say what happened."""
    os.nice(NICENESS)
    keys = make_members(folder, flood.plan.members) if name == VARDE else None
    with Connections(server.port) as connections:
        measured = MeasuredServer(CATALOGUE[name], server, connections, flood.plan, keys)
        members = connections.open(measured.clients(flood.plan.blocks[flood.listeners]))
        pipe.send(len(members))
        while not pipe.poll():  # the pings of the quiet time before must be answered too
            connections.poll(0.02)
        pace = flood.warm_up, flood.measured
        window = measure_window(server, connections, members, repeat(members[0]), flood.rate, pace)
    figures = {
        **{key: window[key] for key in ("deliveries_per_second", "sent", "held_back")},
        "server_cores": window["server_load"],
        "generator_cores": window["generator_load"],
        "generator_bound": window["generator_load"] > BUSY,
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


def _exchange(measured: MeasuredServer, pair: Sequence[Member], seconds: float) -> Tree:
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


def measure_recovery(connections: int, *, tls: bool) -> Tree:
    """Kill a node with so many connections, and return how they came back once the supervisor has started it again.

    Raises ServerFault.
    """
    with (
        tempfile.TemporaryDirectory(prefix="varde-bench-") as folder,
        open_varde(Path(folder), connections, tls=tls) as server,
    ):
        with Load(server, connections) as load:
            load.connect(range(connections), at_once=AT_ONCE)
            killed = time.monotonic()
            server.kill_node()
        down = time.monotonic() - killed
        return {**_come_back(server, connections, killed), "seconds_down": down}


def _come_back(server: DurableServer, connections: int, killed: float) -> Tree:
    back, handshakes, last = Histogram(), Histogram(), killed

    def on_ready(took: float) -> None:
        nonlocal last
        last = time.monotonic()
        back.record(int((last - killed) * SECOND_NS))
        handshakes.record(int(took * SECOND_NS))

    with Load(server, connections) as load, quiet_collector():
        began, own, used = time.monotonic(), time.process_time(), server.cpu_seconds()
        load.connect(range(connections), at_once=AT_ONCE, on_ready=on_ready)
        seconds, own = time.monotonic() - began, time.process_time() - own
        spent = {name: now - used[name] for name, now in server.cpu_seconds().items()}
    returned, shaken = figures_of(back.latency()), figures_of(handshakes.latency())
    return {
        "connections": connections,
        "seconds_until_all_live": last - killed,
        "handshakes_per_second": connections / seconds,
        "handshakes_per_server_cpu_second": connections / spent[VARDE],
        **{f"{each}_back_ms": returned[f"{each}_ms"] for each in ("p50", "p99")},
        **{f"{each}_handshake_ms": shaken[f"{each}_ms"] for each in ("p50", "p99")},
        "curve": returned["curve"],
        "server_cores": spent[VARDE] / seconds,
        "beside_cores": {POSTGRES: spent[POSTGRES] / seconds},
        "generator_cores": own / seconds,
    }
