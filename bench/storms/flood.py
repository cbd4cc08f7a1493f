"""What a small message waits while a room of 5,000 is flooded on the same server, and what it waits when it is not.

Two people exchange one small message each hundredth of a second, timed from when it should have left. The flooded room
is the task of another process (`flooded_room.py`).
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from bench.catalogue import CATALOGUE, VARDE, missing
from bench.clients import Client
from bench.connections import Link
from bench.durable.load import SECOND_NS
from bench.durable.measure import EXPECTED
from bench.durable.rates import figures_of
from bench.fanout import PAIR
from bench.measured_server import MeasuredServer, Workplace, open_measured_server
from bench.process import ROOT, Cores, NoServer
from bench.rooms import Plan
from loadtest.client.websocket import ServerFault
from loadtest.ledger.histogram import Histogram
from loadtest.stack.certificate import make_certificate

SERVERS: Final = (VARDE, "picows", "websockets")
GAP_NS: Final = 10_000_000
CONNECT_DEADLINE: Final = 10.0
SETTLING: Final = 10.0
_PAUSE: Final = 0.25
_SPIN: Final = 0.001
"""The last millisecond before a message is due is spent looking: a wait may end late."""

Pair = tuple[Link[Client], Link[Client]]


class Flood(Struct, frozen=True):
    """How large and how long: `rate` messages a second into the room. Seconds."""

    listeners: int = 5_000
    rate: float = 20.0
    warm_up: float = 2.0
    measured: float = 8.0

    @property
    def plan(self) -> Plan:
        """A room of so many, whose first member floods it, and the pair's room."""
        return Plan(f"1x{self.listeners},1x{PAIR}")


class FloodedRoom(Struct, frozen=True):
    """What the process for the flooded room is given: the server that runs, and the flood."""

    name: str
    pid: int
    port: int
    folder: str
    flood: Flood


def measure_flood(name: str, flood: Flood) -> dict[str, Any]:
    """Return the pair's latencies at one server, calm and flooded; or in words what is `missing` or has `failed`."""
    with tempfile.TemporaryDirectory(prefix="varde-bench-") as place:
        folder, entry = Path(place), CATALOGUE[name]
        lacking = missing(entry, folder)
        if lacking is not None:
            return {"missing": lacking}
        try:
            workplace = Workplace(Cores(None, None), folder, make_certificate(folder))
            with open_measured_server(workplace, entry, flood.plan) as measured:
                return _measure(measured, flood, folder)
        except (NoServer, *EXPECTED) as fault:
            return {"failed": str(fault)}


def _measure(measured: MeasuredServer, flood: Flood, folder: Path) -> dict[str, Any]:
    room = FloodedRoom(measured.entry.name, measured.server.pid, measured.server.port, str(folder), flood)
    with _open_flooded_room(room) as process:
        clients = measured.clients(measured.plan.blocks[PAIR])
        sender, receiver = measured.connections.open(clients, at_once=2, deadline=CONNECT_DEADLINE)
        _wait_until_live(measured, (sender, receiver))
        calm = _exchange(measured, (sender, receiver), flood.measured)
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        _exchange(measured, (sender, receiver), flood.warm_up)
        flooded = _exchange(measured, (sender, receiver), flood.measured)
        return {"calm": calm, "flooded": flooded, "flood": _read(process)}


def _wait_until_live(measured: MeasuredServer, pair: Pair) -> None:
    """Let one send until the other receives, and then nothing more. Raises ServerFault when nothing ever comes.

    A room is joined a little before its listener is live. What is sent in between is read from the log, and the node
    of this benchmark keeps none.
    """
    sender, receiver = pair
    before, end = receiver.client.deliveries, time.monotonic() + SETTLING
    while receiver.client.deliveries == before:
        if time.monotonic() > end:
            raise ServerFault("nothing that one of the pair sends reaches the other")
        sender.connection.send(sender.client.message())
        _wait(measured, _PAUSE)
    _wait(measured, _PAUSE)


def _wait(measured: MeasuredServer, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        measured.connections.poll(left)


def _exchange(measured: MeasuredServer, pair: Pair, seconds: float) -> dict[str, Any]:
    """Let one send to the other for so long; `missing` had not come some seconds after the last one was sent."""
    (connection, client), (_, receiver) = pair
    latencies, under_way, received = Histogram(), deque[int](), receiver.deliveries
    due = time.monotonic_ns()
    end = due + int(seconds * SECOND_NS)
    patience = end + int(SETTLING * SECOND_NS)
    while (now := time.monotonic_ns()) < patience and (due < end or under_way):
        if due < end and now >= due:
            connection.send(client.message())
            under_way.append(due)
            due += GAP_NS
        measured.connections.poll(max(0.0, (due - time.monotonic_ns()) / SECOND_NS - _SPIN) if due < end else 0.05)
        now = time.monotonic_ns()
        for _ in range(receiver.deliveries - received):
            latencies.record(now - under_way.popleft())
        received = receiver.deliveries
    return {**figures_of(latencies.latency()), "missing": len(under_way)}


@contextmanager
def _open_flooded_room(room: FloodedRoom) -> Iterator["subprocess.Popen[str]"]:
    """Run the other process, whose listeners are connected when the block begins. Raises ServerFault."""
    command = (sys.executable, "-m", "bench.storms.flooded_room", msgspec.json.encode(room).decode())
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own program
        try:
            _read(process)
            yield process
        finally:
            process.kill()


def _read(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise ServerFault("the listeners of the flooded room failed")
    said: dict[str, Any] = json.loads(line)
    return said
