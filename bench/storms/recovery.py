"""The node is killed with 10,000 people on it: how long until all of them are there again."""

import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.catalogue import VARDE
from bench.connections import quiet_collector
from bench.durable.load import SECOND_NS, DurableServer, Load
from bench.durable.rates import figures_of
from bench.durable.varde import POSTGRES, open_varde_stack
from loadtest.ledger.histogram import Histogram

AT_ONCE: Final = 200
"""Handshakes in flight: below what the node takes at once (256), so that nobody is sent away to wait."""
DEADLINE: Final = 180.0


def measure_recovery(connections: int, *, tls: bool) -> dict[str, Any]:
    """Kill a node with so many connections, start it again, and return how they came back. Raises ServerFault."""
    with (
        tempfile.TemporaryDirectory(prefix="varde-bench-") as folder,
        open_varde_stack(Path(folder), connections, tls=tls) as stack,
    ):
        with Load(stack.server, connections) as load:
            load.open(range(connections), deadline=DEADLINE, at_once=AT_ONCE)
            killed = time.monotonic()
            stack.stack.kill_node()
        down = time.monotonic() - killed
        return {**_come_back(stack.server, connections, killed), "seconds_down": down}


def _come_back(server: DurableServer, connections: int, killed: float) -> dict[str, Any]:
    back, handshakes, last = Histogram(), Histogram(), killed

    def on_ready(took: float) -> None:
        nonlocal last
        last = time.monotonic()
        back.record(int((last - killed) * SECOND_NS))
        handshakes.record(int(took * SECOND_NS))

    with Load(server, connections) as load, quiet_collector():
        began, own, used = time.monotonic(), time.process_time(), server.cpu_seconds()
        load.open(range(connections), deadline=DEADLINE, at_once=AT_ONCE, on_ready=on_ready)
        seconds, own = time.monotonic() - began, time.process_time() - own
        spent = {name: now - used[name] for name, now in server.cpu_seconds().items()}
    relay, returned, shaken = spent.pop(VARDE), figures_of(back.latency()), figures_of(handshakes.latency())
    return {
        "connections": connections,
        "seconds_until_all_live": last - killed,
        "handshakes_per_second": connections / seconds,
        "handshakes_per_server_cpu_second": connections / relay,
        "p50_back_ms": returned["p50_ms"],
        "p99_back_ms": returned["p99_ms"],
        "p50_handshake_ms": shaken["p50_ms"],
        "p99_handshake_ms": shaken["p99_ms"],
        "curve": returned["curve"],
        "server_cores": relay / seconds,
        "beside_cores": {POSTGRES: spent[POSTGRES] / seconds},
        "generator_cores": own / seconds,
    }
