"""Rates, one after the other, until a server does not keep up: what is measured at each, and which was the highest."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from bench.connections import quiet_collector
from bench.durable.load import BEGIN_NS, SECOND_NS, Load, draw_schedule, open_ledger
from bench.fanout import BUSY
from loadtest.client.websocket import ServerFault
from loadtest.ledger.account import Account
from loadtest.report.result import Latency

COMMON_RATE: Final = 1_000  # at which latencies of servers are compared
RATES: Final = (COMMON_RATE, 2_000, 4_000, 6_000, 10_000, 14_000)
LOWER_RATES: Final = (500, 250, 100)  # tried when the first is too much already
KEPT_UP: Final = 0.98  # of what was offered
PATIENCE_MS: Final = 250.0  # the 99th percentile below which a rate counts as sustained
_SETTLING: Final = 10.0
_MEASURED: Final = 1  # the stage of the ledger that counts; warming up is 0, what comes after it is 2


class Pace(Struct, frozen=True):
    """How long a rate is kept up, in seconds: first unmeasured, while caches fill, then measured."""

    warm_up: float
    measured: float


def measure_rate(load: Load, rate: float, pace: Pace) -> dict[str, Any]:
    """Offer one rate, and return what became of it. Raises ServerFault."""
    ledger = load.ledger = open_ledger()
    server, seconds = load.server, pace.warm_up + pace.measured
    start_ns = time.monotonic_ns() + BEGIN_NS
    for index, began in enumerate((0.0, pace.warm_up, seconds)):
        ledger.open_stage(index, start_ns + int(began * SECOND_NS))
    with quiet_collector():
        used = server.cpu_seconds()
        seconds, own = load.run(draw_schedule(rate, seconds, range(load.clients)), start_ns)
        spent = {name: (now - used[name]) / seconds for name, now in server.cpu_seconds().items()}
        account = load.settle(_SETTLING)
    stage, counts = account.stages[_MEASURED], counts_of(account)
    itself, *beside = spent
    figures = {
        "offered": stage.sent / pace.measured,
        "achieved": stage.received_within / pace.measured,
        **figures_of(account.latencies_of((_MEASURED,)).send_to_receive),
        "server_cores": spent[itself],
        "beside_cores": {name: spent[name] for name in beside},
        "generator_cores": own / seconds,
        "generator_bound": own / seconds > BUSY,
        "account": counts,
    }
    return {**figures, "sustained": _faultless(counts) and _keeps_up(figures)}


def climb(load: Load, rates: Sequence[int], lower: Sequence[int], pace: Pace) -> dict[int, dict[str, Any]]:
    """Offer the rates in turn until one is too much; if the first is, lower ones until one is not. By rate.

    Raises ServerFault when the server fails at the first rate; at another, that is what is found there.
    """
    found: dict[int, dict[str, Any]] = {}
    for rate in rates:
        try:
            found[rate] = measure_rate(load, rate, pace)
        except ServerFault as fault:
            if not found:
                raise
            found[rate] = {"failed": str(fault), "sustained": False}
        if not found[rate]["sustained"]:
            break
    if not found[rates[0]]["sustained"]:
        for rate in lower:
            found[rate] = measure_rate(load, rate, pace)
            if found[rate]["sustained"]:
                break
    return found


def highest_sustained(found: Mapping[int, Mapping[str, Any]]) -> float | None:
    """Return how many messages a second arrived at the highest rate that was sustained; None when none was."""
    sustained = [rate for rate, figures in found.items() if figures["sustained"]]
    return float(found[max(sustained)]["achieved"]) if sustained else None


def counts_of(account: Account) -> dict[str, int]:
    """Return what became of all messages; `missing` were due and had not come when the waiting ended."""
    messages = account.messages
    names = ("sent", "acked", "refused", "received", "duplicated", "disordered")
    return {
        **{name: getattr(messages, name) for name in names},
        "astray": messages.astray + messages.undecryptable,
        "missing": messages.due - messages.received,
        "unacked": messages.unacked,
    }


def _faultless(counts: Mapping[str, int]) -> bool:
    """Whether every message that was not refused was acked, and came once and in order."""
    return not any(counts[name] for name in ("missing", "unacked", "duplicated", "disordered", "astray"))


def figures_of(latency: Latency) -> dict[str, Any]:
    """Return a latency as `bench.json` has it."""
    percentiles = {"p50_ms": latency.p50, "p99_ms": latency.p99, "p999_ms": latency.p999, "max_ms": latency.max}
    return {"count": latency.count, **percentiles, "curve": latency.curve}


def _keeps_up(figures: Mapping[str, Any]) -> bool:
    p99_ms = figures["p99_ms"]
    return p99_ms is not None and p99_ms < PATIENCE_MS and figures["achieved"] >= KEPT_UP * figures["offered"]
