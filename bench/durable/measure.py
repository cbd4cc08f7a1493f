"""The durable part of the benchmark: every server that is installed, at the same rates; Varde with 10,000 people."""

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.catalogue import VARDE
from bench.durable.load import BEGIN_NS, Load, Missing, Open, draw_schedule, open_ledger, survival_of
from bench.durable.mosquitto import open_mosquitto
from bench.durable.rates import COMMON_RATE, LOWER_RATES, RATES, Pace, climb, highest_sustained, measure_rate
from bench.durable.varde import open_varde
from bench.steps import Options
from loadtest.client.websocket import ServerFault

SERVERS: Final[dict[str, Open]] = {
    VARDE: open_varde,
    "mosquitto": open_mosquitto,
    "mosquitto_each_second": partial(open_mosquitto, saving="each second"),
}
"""By the name their figures have."""

EXPECTED: Final = (ServerFault, OSError, subprocess.SubprocessError)  # how a server can fail to be measured

CONNECTIONS: Final = 2_000
MANY_CONNECTIONS: Final = 10_000
TARGETS_MS: Final = {1_000: 10.0, 6_000: 25.0, 10_000: 120.0}
"""What 99 of 100 messages may take between 10,000 connections, by messages a second."""
PACE: Final = Pace(warm_up=2.0, measured=8.0)

AWAY: Final = 200  # connections where survival is measured: half of them send to the other half, which is away
AWAY_SECONDS: Final = 3.0
_SENDERS: Final = range(0, AWAY, 2)
_RECEIVERS: Final = range(1, AWAY, 2)
_LEAVING: Final = 2.0
_SETTLING: Final = 8.0

QUICK_SERVERS: Final = (VARDE, "mosquitto")
QUICK_CONNECTIONS: Final = 300
QUICK_PACE: Final = Pace(warm_up=0.5, measured=2.0)


def measure(options: Options) -> dict[str, Any]:
    """Return the figures by server. Takes about twelve seconds when quick, else some minutes."""
    names = [name for name in SERVERS if options.wants(name) and (not options.quick or name in QUICK_SERVERS)]
    return {name: _measure_server(name, options) for name in names}


def _measure_server(name: str, options: Options) -> dict[str, Any]:
    try:
        return (_measure_quickly if options.quick else _measure_whole)(name, options)
    except Missing as missing:
        options.say(f"durable: {name}: {missing}")
        return {"missing": str(missing)}
    except EXPECTED as fault:
        options.say(f"durable: {name} failed: {fault}")
        return {"failed": str(fault)}


def _measure_quickly(name: str, options: Options) -> dict[str, Any]:
    options.say(f"durable: {name}, {COMMON_RATE} messages a second, {QUICK_CONNECTIONS} connections")
    with open_load(SERVERS[name], QUICK_CONNECTIONS) as load:
        return _figures({COMMON_RATE: measure_rate(load, COMMON_RATE, QUICK_PACE)}, load)


def _measure_whole(name: str, options: Options) -> dict[str, Any]:
    options.say(f"durable: {name}, {RATES[0]} to {RATES[-1]} messages a second, {CONNECTIONS} connections")
    with open_load(SERVERS[name], CONNECTIONS) as load:
        figures = _figures(climb(load, RATES, LOWER_RATES, PACE), load)
    options.say(f"durable: {name}, killed")
    figures["killed"] = _or_failed(lambda: measure_survival(SERVERS[name]))
    if name == VARDE:
        options.say(f"durable: {name} with {MANY_CONNECTIONS} connections")
        figures["connections"] = _or_failed(_measure_many)
    return figures


def _measure_many() -> dict[str, Any]:
    """The design's targets: 10,000 people, at three rates."""
    found: dict[str, Any] = {}
    with open_load(SERVERS[VARDE], MANY_CONNECTIONS) as load:
        for rate, target in TARGETS_MS.items():
            found[str(rate)] = _or_failed(partial(measure_rate, load, rate, PACE))
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


def measure_survival(open_server: Open, *, seconds: float = AWAY_SECONDS) -> dict[str, Any]:
    """Return how many messages were acked before the kill, and how many of those never came. Raises ServerFault."""
    ledger = open_ledger()
    with tempfile.TemporaryDirectory(prefix="varde-bench-") as name:
        folder = Path(name)
        with open_server(folder, AWAY) as server:
            with Load(server, AWAY, ledger) as receivers:  # they make themselves known, and leave in good order
                receivers.open(_RECEIVERS)
                receivers.leave(_LEAVING)
            with Load(server, AWAY, ledger) as senders:
                senders.open(_SENDERS)
                senders.run(draw_schedule(COMMON_RATE, seconds, _SENDERS), time.monotonic_ns() + BEGIN_NS)
                server.kill()
                senders.drain(_SETTLING)  # they go on reading acks for as long as there are any
        with (
            open_server(folder, AWAY) as server,
            Load(server, AWAY, ledger) as receivers,
        ):
            receivers.open(_RECEIVERS)
            end = time.monotonic() + _SETTLING
            while survival_of(ledger, AWAY)["lost_after_ack"] and time.monotonic() < end:
                receivers.poll()
    return survival_of(ledger, AWAY)


@contextmanager
def open_load(open_server: Open, connections: int) -> Iterator[Load]:
    """Run a server in a folder that is gone afterwards, with so many clients that are ready."""
    with (
        tempfile.TemporaryDirectory(prefix="varde-bench-") as folder,
        open_server(Path(folder), connections) as server,
        Load(server, connections) as load,
    ):
        load.open(range(connections))
        yield load


def _figures(found: dict[int, dict[str, Any]], load: Load) -> dict[str, Any]:
    return {
        "messages_per_second": highest_sustained(found),
        "p50_ms": found[COMMON_RATE]["p50_ms"],
        "p99_ms": found[COMMON_RATE]["p99_ms"],
        "at": {str(rate): figures for rate, figures in found.items()},
        "settings": load.server.settings,
    }
