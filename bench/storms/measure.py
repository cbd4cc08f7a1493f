"""The storms of the benchmark, by kind."""

from typing import Any, Final

from bench.catalogue import VARDE
from bench.durable.measure import EXPECTED
from bench.steps import Options
from bench.storms.flood import SERVERS, Flood, measure_flood
from bench.storms.recovery import measure_recovery

CONNECTIONS: Final = 10_000
QUICK_CONNECTIONS: Final = 200
QUICK_FLOOD: Final = Flood(listeners=500, rate=100.0, warm_up=0.5, measured=1.0)


def measure(options: Options) -> dict[str, Any]:
    """Return `flood` by server, and `recovery` of Varde, plain and with TLS."""
    flood, floods = QUICK_FLOOD if options.quick else Flood(), dict[str, Any]()
    for server in SERVERS:
        if options.wants(server) and (server == VARDE or not options.quick):
            options.say(f"storms: {server}, a small message while a room of {flood.listeners} is flooded")
            floods[server] = measure_flood(server, flood)
    return {"flood": floods, "recovery": {VARDE: _measure_recoveries(options)} if options.wants(VARDE) else {}}


def _measure_recoveries(options: Options) -> dict[str, Any]:
    connections = QUICK_CONNECTIONS if options.quick else CONNECTIONS
    ways = {"plain": False} | ({"tls": True} if options.tls and not options.quick else {})
    found = {}
    for way, tls in ways.items():
        options.say(f"storms: varde is killed with {connections} connections, {way}")
        try:
            found[way] = measure_recovery(connections, tls=tls)
        except EXPECTED as fault:
            options.say(f"storms: {fault}")
            found[way] = {"failed": str(fault)}
    return found
