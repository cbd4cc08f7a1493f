"""What happens to everybody when much happens at once: a flooded room; a node killed with 10,000 people on it."""

import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.catalogue import VARDE
from bench.connections import quiet_collector
from bench.durable.load import SECOND_NS, DurableServer, Load
from bench.durable.measure import EXPECTED
from bench.durable.rates import figures_of
from bench.durable.varde import POSTGRES, open_varde_stack
from bench.flood import SERVERS, Flood, measure_flood
from bench.steps import Options
from loadtest.ledger.histogram import Histogram

CONNECTIONS: Final = 10_000
QUICK_CONNECTIONS: Final = 200
QUICK_FLOOD: Final = Flood(listeners=500, rate=100.0, warm_up=0.5, measured=1.0)
AT_ONCE: Final = 200
"""Handshakes in flight: below what the node takes at once (256), so that nobody is sent away to wait."""


def measure_storms(options: Options) -> dict[str, Any]:
    """Return `flood` by server, and `recovery` of Varde, plain and with TLS."""
    flood, floods, recoveries = QUICK_FLOOD if options.quick else Flood(), dict[str, Any](), dict[str, Any]()
    for server in filter(options.wants, SERVERS):
        if server == VARDE or not options.quick:
            options.say(f"storms: {server}, a small message while a room of {flood.listeners} is flooded")
            floods[server] = measure_flood(server, flood)
    if not options.wants(VARDE):
        return {"flood": floods, "recovery": {}}
    connections = QUICK_CONNECTIONS if options.quick else CONNECTIONS
    for way in ("plain", "tls") if options.tls and not options.quick else ("plain",):
        options.say(f"storms: varde is killed with {connections} connections, {way}")
        try:
            recoveries[way] = measure_recovery(connections, tls=way == "tls")
        except EXPECTED as fault:
            options.say(f"storms: {fault}")
            recoveries[way] = {"failed": str(fault)}
    return {"flood": floods, "recovery": {VARDE: recoveries}}


def measure_recovery(connections: int, *, tls: bool) -> dict[str, Any]:
    """Kill a node with so many connections, and return how they came back once the supervisor has started it again.

    Raises ServerFault.
    """
    with (
        tempfile.TemporaryDirectory(prefix="varde-bench-") as folder,
        open_varde_stack(Path(folder), connections, tls=tls) as system,
    ):
        with Load(system.server, connections) as load:
            load.open(range(connections), at_once=AT_ONCE)
            killed = time.monotonic()
            system.stack.kill_node()
        down = time.monotonic() - killed
        return {**_come_back(system.server, connections, killed), "seconds_down": down}


def _come_back(server: DurableServer, connections: int, killed: float) -> dict[str, Any]:
    back, handshakes, last = Histogram(), Histogram(), killed

    def on_ready(took: float) -> None:
        nonlocal last
        last = time.monotonic()
        back.record(int((last - killed) * SECOND_NS))
        handshakes.record(int(took * SECOND_NS))

    with Load(server, connections) as load, quiet_collector():
        began, own, used = time.monotonic(), time.process_time(), server.cpu_seconds()
        load.open(range(connections), at_once=AT_ONCE, on_ready=on_ready)
        seconds, own = time.monotonic() - began, time.process_time() - own
        spent = {name: now - used[name] for name, now in server.cpu_seconds().items()}
    returned, shaken = figures_of(back.latency()), figures_of(handshakes.latency())
    return {
        "connections": connections,
        "seconds_until_all_live": last - killed,
        "handshakes_per_second": connections / seconds,
        "handshakes_per_server_cpu_second": connections / spent[VARDE],
        "p50_back_ms": returned["p50_ms"],
        "p99_back_ms": returned["p99_ms"],
        "p50_handshake_ms": shaken["p50_ms"],
        "p99_handshake_ms": shaken["p99_ms"],
        "curve": returned["curve"],
        "server_cores": spent[VARDE] / seconds,
        "beside_cores": {POSTGRES: spent[POSTGRES] / seconds},
        "generator_cores": own / seconds,
    }
