"""The storms of the benchmark, by kind."""

from typing import Any, Final

from bench.durable.measure import EXPECTED
from bench.durable.varde_server import NAME
from bench.options import Options
from bench.storms.flood import SERVERS, Storm, measure_flood
from bench.storms.recovery import measure_recovery

CONNECTIONS: Final = 10_000
QUICK_CONNECTIONS: Final = 200
QUICK_STORM: Final = Storm(listeners=500, rate=100.0, warm_up=0.5, measured=1.0)


def measure(options: Options) -> dict[str, Any]:
    """Return `flood` by server, and `recovery` of Varde, plain and with TLS."""
    return {"flood": _measure_floods(options), "recovery": _measure_recoveries(options)}


def _measure_floods(options: Options) -> dict[str, Any]:
    storm = QUICK_STORM if options.quick else Storm()
    found = {}
    for server in SERVERS:
        if options.wants(server) and (server == NAME or not options.quick):
            options.say(f"storms: {server}, a small message while a room of {storm.listeners} is flooded")
            found[server] = measure_flood(server, storm)
    return found


def _measure_recoveries(options: Options) -> dict[str, Any]:
    if not options.wants(NAME):
        return {}
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
    return {NAME: found}
