"""Rates, one after the other, until a server does not keep up: what is measured at each, and which was the highest."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from bench.durable.generator import Effort, Generator, quiet_collector
from bench.durable.latency import summarise
from bench.durable.schedule import draw_schedule
from bench.durable.served import Served
from bench.measuring import cpu_seconds
from loadtest.client.websocket import ServerFault

COMMON_RATE: Final = 1_000
"""At which latencies of servers are compared."""
RATES: Final = (COMMON_RATE, 2_000, 4_000, 6_000, 10_000, 14_000)
LOWER_RATES: Final = (500, 250, 100)
"""Tried when the first is too much already."""
KEPT_UP: Final = 0.98
"""Of what was offered."""
PATIENCE_MS: Final = 250.0
"""The 99th percentile below which a rate counts as sustained."""
_SETTLING: Final = 10.0
_BEGIN_NS: Final = 20_000_000
"""From the drawing of a schedule to its first message."""
_SECOND_NS: Final = 1_000_000_000


class Pace(Struct, frozen=True):
    """How long a rate is kept up, in seconds: first unmeasured, while caches fill, then measured."""

    warm_up: float
    measured: float


def measure_rate(generator: Generator, served: Served, rate: float, pace: Pace) -> dict[str, Any]:
    """Offer one rate, and return what became of it. Raises ServerFault."""
    ledger, watched = generator.ledger, {served.name: served.pid, **served.beside}
    before, start_ns = ledger.account(), time.monotonic_ns() + _BEGIN_NS
    end = pace.warm_up + pace.measured
    ledger.open_window(start_ns + int(pace.warm_up * _SECOND_NS), start_ns + int(end * _SECOND_NS))
    with quiet_collector():
        used = _cpu_of(watched)
        effort = generator.run(draw_schedule(rate, end, len(generator.lines)), start_ns)
        spent = {name: seconds - used[name] for name, seconds in _cpu_of(watched).items()}
        generator.settle(_SETTLING)
    account = ledger.account().since(before)
    figures = {
        "offered": ledger.due_within / pace.measured,
        "achieved": ledger.came_within / pace.measured,
        **summarise(ledger.latencies_ns),
        **_cores(served, spent, effort),
        "account": {**asdict(account), "missing": account.missing, "unacked": account.unacked},
    }
    return {**figures, "sustained": account.faultless and _keeps_up(figures)}


def climb(
    generator: Generator, served: Served, rates: Sequence[int], lower: Sequence[int], pace: Pace
) -> dict[int, dict[str, Any]]:
    """Offer the rates in turn until one is too much; if the first is, lower ones until one is not. By rate.

    Raises ServerFault when the server fails at the first rate; at another, that is what is found there.
    """
    found: dict[int, dict[str, Any]] = {}
    for rate in rates:
        try:
            found[rate] = measure_rate(generator, served, rate, pace)
        except ServerFault as fault:
            if not found:
                raise
            found[rate] = {"failed": str(fault), "sustained": False}
        if not found[rate]["sustained"]:
            break
    if not found[rates[0]]["sustained"]:
        for rate in lower:
            found[rate] = measure_rate(generator, served, rate, pace)
            if found[rate]["sustained"]:
                break
    return found


def highest_sustained(found: Mapping[int, Mapping[str, Any]]) -> float | None:
    """Return how many messages a second arrived at the highest rate that was sustained; None when none was."""
    sustained = [rate for rate, figures in found.items() if figures["sustained"]]
    return float(found[max(sustained)]["achieved"]) if sustained else None


def _keeps_up(figures: Mapping[str, Any]) -> bool:
    p99_ms = figures["p99_ms"]
    return p99_ms is not None and p99_ms < PATIENCE_MS and figures["achieved"] >= KEPT_UP * figures["offered"]


def _cpu_of(watched: Mapping[str, int]) -> dict[str, float]:
    return {name: cpu_seconds(pid) for name, pid in watched.items()}


def _cores(served: Served, spent: Mapping[str, float], effort: Effort) -> dict[str, Any]:
    return {
        "server_cores": spent[served.name] / effort.seconds,
        "beside_cores": {name: spent[name] / effort.seconds for name in served.beside},
        "generator_cores": effort.busy,
        "generator_bound": effort.bound,
    }
