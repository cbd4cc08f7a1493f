"""The durable part of the benchmark: every server that is installed, at the same rates, and after SIGKILL.

Rates climb until a server does not keep up. Varde is measured with 10,000 people as well.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from bench.connections import quiet_collector
from bench.dimensions import BUSY
from bench.durable.load import SECOND_NS, Load, Open, draw_schedule, open_ledger, open_varde, survival_of
from bench.durable.mosquitto import open_mosquitto
from bench.results import Tree
from bench.run import Options
from bench.server import VARDE
from loadtest.client.websocket import ServerFault
from loadtest.ledger.reports import Account
from loadtest.report.result import Latency

SERVERS: Final[dict[str, Open]] = {
    VARDE: open_varde,
    "mosquitto": open_mosquitto,
    "mosquitto_each_second": partial(open_mosquitto, saving="each second"),
}
"""By the name their figures have."""

Pace: TypeAlias = tuple[float, float]
"""How long a rate is kept up, in seconds: first unmeasured, while caches fill, then measured."""

COMMON_RATE: Final = 1_000  # at which latencies of servers are compared
RATES: Final[Sequence[int]] = (COMMON_RATE, 2_000, 4_000, 6_000, 10_000, 14_000)
LOWER_RATES: Final[Sequence[int]] = (500, 250, 100)  # tried when the first is too much already
KEPT_UP: Final = 0.98  # of what was offered
PATIENCE_MS: Final = 250.0  # the 99th percentile below which a rate counts as sustained
PACE: Final[Pace] = (2.0, 8.0)
CONNECTIONS: Final[int] = 2_000
MANY_CONNECTIONS: Final = 10_000
TARGETS_MS: Final = {1_000: 10.0, 6_000: 25.0, 10_000: 120.0}
"""What 99 of 100 messages may take between 10,000 connections, by messages a second."""

AWAY: Final = 200  # connections where survival is measured: half of them send to the other half, which is away
AWAY_SECONDS: Final = 3.0
BEGIN_NS: Final = 20_000_000  # from the drawing of a schedule to its first message
_SENDERS: Final = range(0, AWAY, 2)
_RECEIVERS: Final = range(1, AWAY, 2)
_LEAVING: Final = 2.0
_SETTLING: Final = 10.0
_MEASURED: Final = 1  # the stage of the ledger that counts; warming up is 0, what comes after it is 2

QUICK_SERVERS: Final = (VARDE, "mosquitto")
QUICK_CONNECTIONS: Final = 300
QUICK_PACE: Final[Pace] = (0.5, 2.0)


def measure_durable(options: Options) -> Tree:
    """Return the figures by server. Takes about twelve seconds when quick, else some minutes."""
    names = [name for name in SERVERS if options.wants(name) and (not options.quick or name in QUICK_SERVERS)]
    return {name: options.attempt(f"durable: {name}", partial(_measure_server, name, options)) for name in names}


def _measure_server(name: str, options: Options) -> Tree:
    connections, rates, lower, pace = CONNECTIONS, RATES, LOWER_RATES, PACE
    if options.quick:
        connections, rates, lower, pace = QUICK_CONNECTIONS, RATES[:1], (), QUICK_PACE
    with open_load(SERVERS[name], connections) as load:
        found = climb(load, rates, lower, pace)
        figures = {
            "messages_per_second": highest_sustained(found),
            "p50_ms": found[COMMON_RATE]["p50_ms"],
            "p99_ms": found[COMMON_RATE]["p99_ms"],
            "at": {str(rate): at for rate, at in found.items()},
            "settings": load.server.settings,
        }
    if options.quick:
        return figures
    # What is measured beside must not take along what was measured before.
    figures["killed"] = options.attempt(f"durable: {name}, killed", partial(measure_survival, SERVERS[name]))
    if name == VARDE:
        words = f"durable: {name} with {MANY_CONNECTIONS} connections"
        figures["connections"] = options.attempt(words, partial(_measure_many, options))
    return figures


def _measure_many(options: Options) -> Tree:
    found: Tree = {}
    with open_load(SERVERS[VARDE], MANY_CONNECTIONS) as load:
        for rate, target in TARGETS_MS.items():
            figures = options.attempt(f"durable: {rate} messages a second", partial(measure_rate, load, rate, PACE))
            found[str(rate)] = {**figures, "target_p99_ms": target}
            if "failed" in figures:
                break
    return {"count": MANY_CONNECTIONS, "at": found}


def measure_rate(load: Load, rate: float, pace: Pace) -> Tree:
    """Offer one rate, and return what became of it. Raises ServerFault."""
    ledger = load.ledger = open_ledger()
    (warm_up, measured), server = pace, load.server
    seconds, start_ns = warm_up + measured, time.monotonic_ns() + BEGIN_NS
    for index, began in enumerate((0.0, warm_up, seconds)):
        ledger.open_stage(index, start_ns + int(began * SECOND_NS))
    with quiet_collector():
        used = server.cpu_seconds()
        seconds, own = load.run(draw_schedule(rate, seconds, range(load.clients)), start_ns)
        spent = {name: (now - used[name]) / seconds for name, now in server.cpu_seconds().items()}
        account = load.settle(_SETTLING)
    stage, counts = account.sum_of((_MEASURED,)), counts_of(account)
    itself, *beside = spent
    figures = {
        "offered": stage.sent / measured,
        "achieved": stage.received_within / measured,
        **figures_of(stage.latencies().send_to_receive),
        "server_cores": spent[itself],
        "beside_cores": {name: spent[name] for name in beside},
        "generator_cores": own / seconds,
        "generator_bound": own / seconds > BUSY,
        "account": counts,
    }
    faultless = not any(counts[name] for name in ("missing", "unacked", "duplicated", "disordered", "astray"))
    p99_ms = figures["p99_ms"]
    keeps_up = figures["achieved"] >= KEPT_UP * figures["offered"] and p99_ms is not None and p99_ms < PATIENCE_MS
    return {**figures, "sustained": faultless and keeps_up}


def climb(load: Load, rates: Sequence[int], lower: Sequence[int], pace: Pace) -> dict[int, Tree]:
    """Offer the rates in turn until one is too much; if the first is, lower ones until one is not. By rate.

    Raises ServerFault when the server fails at the first rate; at another, that is what is found there.
    """
    found: dict[int, Tree] = {}
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


def highest_sustained(found: Mapping[int, Tree]) -> float | None:
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


def figures_of(latency: Latency) -> Tree:
    """Return a latency as `bench.json` has it."""
    percentiles = {"p50_ms": latency.p50, "p99_ms": latency.p99, "p999_ms": latency.p999, "max_ms": latency.max}
    return {"count": latency.count, **percentiles, "curve": latency.curve}


def measure_survival(open_server: Open, *, seconds: float = AWAY_SECONDS) -> Tree:
    """Return how many messages were acked before the kill, and how many of those never came. Raises ServerFault."""
    ledger = open_ledger()
    with tempfile.TemporaryDirectory(prefix="varde-bench-") as name:
        folder = Path(name)
        with open_server(folder, AWAY) as server:
            with Load(server, AWAY, ledger) as receivers:  # they make themselves known, and leave in good order
                receivers.connect(_RECEIVERS)
                receivers.leave(_LEAVING)
            with Load(server, AWAY, ledger) as senders:
                senders.connect(_SENDERS)
                senders.run(draw_schedule(COMMON_RATE, seconds, _SENDERS), time.monotonic_ns() + BEGIN_NS)
                server.kill()  # as a power cut would; SIGTERM would give each server the time to write
                senders.drain(_SETTLING)  # they go on reading acks for as long as there are any
        with open_server(folder, AWAY) as server, Load(server, AWAY, ledger) as receivers:
            receivers.connect(_RECEIVERS)
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
        load.connect(range(connections))
        yield load
