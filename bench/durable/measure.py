"""The durable part of the benchmark: every server that is installed, at the same rates, and Varde with
10,000 people.
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.durable import ejabberd, mosquitto, varde_server
from bench.durable.generator import Generator
from bench.durable.ledger import Ledger
from bench.durable.ramp import COMMON_RATE, LOWER_RATES, RATES, Pace, climb, highest_sustained, measure_rate
from bench.durable.served import Missing, Open, Served
from bench.durable.survival import measure_survival
from bench.options import Options
from loadtest.client.websocket import ServerFault

SERVERS: Final[dict[str, Callable[[], Open]]] = {
    varde_server.NAME: lambda: varde_server.Varde().open,
    mosquitto.NAME: lambda: mosquitto.open_mosquitto,
    "mosquitto_each_second": lambda: partial(mosquitto.open_mosquitto, saving="each second"),
    ejabberd.NAME: lambda: ejabberd.open_ejabberd,
}
"""By the name their figures have. Mosquitto twice: as durable as it can be, and saving once a second."""

EXPECTED: Final = (ServerFault, OSError, subprocess.SubprocessError)
"""How a server can fail to be measured."""

CONNECTIONS: Final = 2_000
MANY_CONNECTIONS: Final = 10_000
TARGETS_MS: Final = {1_000: 10.0, 6_000: 25.0, 10_000: 120.0}
"""What 99 of 100 messages may take between 10,000 connections, by messages a second."""
PACE: Final = Pace(warm_up=2.0, measured=8.0)
CONNECTING_DEADLINE: Final = 120.0

QUICK_SERVERS: Final = (varde_server.NAME, mosquitto.NAME)
QUICK_CONNECTIONS: Final = 300
QUICK_PACE: Final = Pace(warm_up=0.5, measured=2.0)


def measure(options: Options) -> dict[str, Any]:
    """Return the figures by server. Takes about twelve seconds when quick, else some minutes."""
    names = [name for name in SERVERS if options.wants(name) and (not options.quick or name in QUICK_SERVERS)]
    return {name: _measure_server(name, options) for name in names}


def _measure_server(name: str, options: Options) -> dict[str, Any]:
    measures = _measure_quickly if options.quick else _measure_whole
    try:
        return measures(name, options)
    except Missing as missing:
        options.say(f"durable: {name}: {missing}")
        return {"missing": str(missing)}
    except EXPECTED as fault:
        options.say(f"durable: {name} failed: {fault}")
        return {"failed": str(fault)}


def _measure_quickly(name: str, options: Options) -> dict[str, Any]:
    options.say(f"durable: {name}, {COMMON_RATE} messages a second, {QUICK_CONNECTIONS} connections")
    with open_generator(SERVERS[name](), QUICK_CONNECTIONS) as (generator, served):
        found = {COMMON_RATE: measure_rate(generator, served, COMMON_RATE, QUICK_PACE)}
        return _figures(found, served)


def _measure_whole(name: str, options: Options) -> dict[str, Any]:
    options.say(f"durable: {name}, {RATES[0]} to {RATES[-1]} messages a second, {CONNECTIONS} connections")
    with open_generator(SERVERS[name](), CONNECTIONS) as (generator, served):
        figures = _figures(climb(generator, served, RATES, LOWER_RATES, PACE), served)
    options.say(f"durable: {name}, killed")
    figures["killed"] = _or_failed(lambda: measure_survival(SERVERS[name]()))
    if name == varde_server.NAME:
        options.say(f"durable: {name} with {MANY_CONNECTIONS} connections")
        figures["connections"] = _or_failed(_measure_crowd)
    return figures


def _measure_crowd() -> dict[str, Any]:
    """The design's targets: 10,000 people, at three rates."""
    found: dict[str, Any] = {}
    with open_generator(varde_server.Varde().open, MANY_CONNECTIONS) as (generator, served):
        for rate, target in TARGETS_MS.items():
            found[str(rate)] = _or_failed(partial(measure_rate, generator, served, rate, PACE))
            found[str(rate)]["target_p99_ms"] = target
            if "failed" in found[str(rate)]:
                break
    return {"count": MANY_CONNECTIONS, "at": found}


def _or_failed(measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is measured beside must not take along what was measured before."""
    try:
        return measured()
    except EXPECTED as fault:
        return {"failed": str(fault)}


@contextmanager
def open_generator(open_server: Open, connections: int) -> Iterator[tuple[Generator, Served]]:
    """Run a server in a folder that is gone afterwards, with so many connections that are live."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="varde-bench-")))
        served = stack.enter_context(open_server(folder, connections))
        ledger = Ledger(connections)
        generator = Generator(served.address, lambda number: served.dial(number, ledger), ledger)
        stack.callback(generator.close)
        generator.connect(range(connections), deadline=CONNECTING_DEADLINE)
        yield generator, served


def _figures(found: dict[int, dict[str, Any]], served: Served) -> dict[str, Any]:
    at_common = found[COMMON_RATE]
    return {
        "messages_per_second": highest_sustained(found),
        "p50_ms": at_common["p50_ms"],
        "p99_ms": at_common["p99_ms"],
        "at": {str(rate): figures for rate, figures in found.items()},
        "settings": dict(served.settings),
    }
