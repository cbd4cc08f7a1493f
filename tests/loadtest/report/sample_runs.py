"""Sample results, as rich as those of real runs."""

import math
import random
from collections import Counter
from functools import cache
from typing import Any, Final

import msgspec
from hdrh.histogram import HdrHistogram

from loadtest.exits import Verdict
from loadtest.report.result import (
    Endpoint,
    Finding,
    Generator,
    Latencies,
    Latency,
    Messages,
    Objective,
    Rate,
    Result,
    Sample,
    StageFigures,
    Users,
    WorkerFigures,
)
from loadtest.scenarios.plan import Action, Kind, Plan, Stage

CURVE: Final = (0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0)
STALL: Final = 9.0
"""How many times slower everything is at the worst of the stall."""
USERS: Final = 10_000
RATE: Final = 1_000.0
PLAN: Final = Plan(
    scenario="steady",
    kind=Kind.MESSAGING,
    seats=USERS,
    nodes=2,
    stages=(
        Stage(name="arrive", seconds=40, users=USERS, spawn_per_second=260),
        Stage(name="warm up", seconds=20, users=USERS, spawn_per_second=260, messages_per_second=500),
        Stage(name="hold", seconds=300, users=USERS, spawn_per_second=260, messages_per_second=RATE, judged=True),
        Stage(
            name="lose a node",
            seconds=40,
            users=USERS,
            spawn_per_second=260,
            messages_per_second=RATE,
            action=Action.KILL_NODE,
        ),
    ),
)
ENVIRONMENT: Final[dict[str, Any]] = {
    "cpu": "Abacus 9000 @ 2.60GHz",
    "cores": 2,
    "memory_gib": 24.0,
    "kernel": "Linux 6.1.0",
    "python": "CPython 3.11.2",
    "revision": "c0ffee1234",
    "packages": {"gevent": "25.9.1", "locust": "2.47.0", "trio": "0.35.0", "uvloop": "0.23.0"},
    "limits": {"open_files_soft": 65_536, "open_files_hard": 1_048_576, "cgroup_cpus": 2.0},
}


class Draw:
    """Latencies of one kind. `slower` multiplies them all."""

    def __init__(self, seed: int, slower: float) -> None:
        self.random = random.Random(seed)  # noqa: S311 - figures for a picture
        self.slower = slower

    def latencies_us(self, count: int, middle_ms: float, at_s: float) -> list[int]:
        """Log-normal, with a slow second now and then, and one stall in the fourth minute."""
        distance = (at_s - 212.0) / 1.6
        load = self.slower * (1 + STALL * math.exp(-distance * distance)) * self.random.lognormvariate(0, 0.06)
        return [max(40, int(1_000 * load * middle_ms * self.random.lognormvariate(0, 0.55))) for _ in range(count)]


def latency_of(values_us: list[int]) -> Latency:
    """Return the figures of some measurements, in the way a real run has them."""
    if not values_us:
        return Latency()
    histogram = HdrHistogram(1, 120_000_000, 3)
    for value, count in Counter(values_us).items():
        histogram.record_value(value, count)
    places = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p999": 99.9, "max": 100.0}
    # All in one pass: each look at the histogram for one of them reads all of its counts.
    found = histogram.get_percentile_to_value_dict([*places.values(), *CURVE])
    named = {name: found[place] / 1_000 for name, place in places.items()}
    curve = [(place, found[place] / 1_000) for place in CURVE]
    return Latency(count=len(values_us), curve=curve, hdr=histogram.encode().decode(), **named)


def _stage_at(at_s: float) -> tuple[Stage, float]:
    began = 0.0
    for stage in PLAN.stages:
        if at_s < began + stage.seconds:
            return stage, at_s - began
        began += stage.seconds
    return PLAN.stages[-1], at_s - began


def _sample(at: int, values: list[int], draw: Draw) -> Sample:
    stage, since = _stage_at(at)
    gone = 5_000 * math.exp(-since / 4) if stage.action else 0.0
    connected = int(min(USERS, 258.0 * (at + 1)) - gone)
    values = sorted(values)
    slow = values[int(0.99 * len(values))] / 1_000 if values else None
    wobble = draw.random.uniform(0.93, 1.07)
    return Sample(
        at_s=float(at),
        stage=stage.name,
        users=min(USERS, 260 * (at + 1)),
        connected=connected,
        sent_per_second=round(stage.messages_per_second * draw.random.uniform(0.97, 1.03), 1),
        received_per_second=round(stage.messages_per_second * connected / USERS * wobble, 1),
        p50_ms=values[len(values) // 2] / 1_000 if values else None,
        p99_ms=slow,
        generator_cpu_percent=round(wobble * (18 + stage.messages_per_second * 0.034), 1),
        server=_server(at, stage, connected, (slow or 1.0), wobble),
    )


def _server(at: int, stage: Stage, connected: int, slow_ms: float, wobble: float) -> dict[str, float]:
    rate = stage.messages_per_second
    return {
        "relay-0.cpu_percent": round(wobble * (6 + rate * 0.021), 1),
        "relay-1.cpu_percent": round((2 - wobble) * (6 + rate * 0.02), 1),
        "postgres.cpu_percent": round(wobble * (3 + rate * 0.031), 1),
        "api.cpu_percent": round(wobble * 1.4, 1),
        "relay-0.rss_mib": round(62 + connected * 0.0123 + at * 0.01, 1),
        "relay-1.rss_mib": round(61 + connected * 0.0122 + at * 0.011, 1),
        "postgres.rss_mib": round(180 + at * 0.22, 1),
        "api.rss_mib": 71.5,
        "relay.lateness_ms": round(0.3 * wobble + slow_ms / 9, 2),
        "relay.connections": float(connected),
        "relay.commit_ms": round(1.9 * wobble * max(1.0, slow_ms / 20), 2),
        "relay.outbox_deepest_kib": round(connected * 0.0031 * wobble, 2),
    }


def _stages(second: dict[int, list[int]], rates: list[Sample]) -> list[StageFigures]:
    found, began = [], 0.0
    for stage in PLAN.stages:
        inside = [values for at, values in second.items() if began <= at < began + stage.seconds]
        values = [value for values in inside for value in values]
        sent = [sample.sent_per_second for sample in rates if began <= sample.at_s < began + stage.seconds]
        found.append(
            StageFigures(
                name=stage.name,
                began_s=began,
                seconds=stage.seconds,
                judged=stage.judged,
                users=stage.users,
                messages_per_second=sum(sent) / len(sent),
                requests_per_second=0.0,
                target_per_second=stage.messages_per_second,
                latency_ms=latencies_of(values),
            )
        )
        began += stage.seconds
    return found


def latencies_of(values: list[int]) -> Latencies:
    """Return all four kinds: acks come in half the time, and what is raw does not see who waited in line."""
    raw = [value if value < 20_000 else 20_000 + (value - 20_000) // 6 for value in values]
    return Latencies(
        send_to_receive=latency_of(values),
        raw_send_to_receive=latency_of(raw),
        send_to_ack=latency_of([value // 2 for value in values]),
        raw_send_to_ack=latency_of([value // 2 for value in raw]),
        connect=latency_of([value * 3 for value in values[:10_000]]),
    )


def objectives_of(latencies: Latencies, lost: int) -> list[Objective]:
    """Return the lines of an SLO, met or not as the figures are, in the words of the gate."""
    kinds = latencies.send_to_receive
    return [
        _objective("latency_ms.send_to_receive.p99", kinds.p99, 25.0, 600.0),
        _objective("latency_ms.send_to_receive.p50", kinds.p50, 8.0, None),
        _objective("messages.lost", float(lost), 0.0, 0.0),
        _objective("messages.duplicated", 0.0, 0.0, 0.0),
        _objective("rate.achieved_per_second", 998.7, 980.0, None, at_least=True),
        _objective("users.connected", 10_000.0, 10_000.0, 9_900.0, at_least=True),
        _objective("findings.memory-slope.value", 0.7, 5.0, None),
    ]


def _objective(
    key: str, measured: float | None, limit: float, floor: float | None, *, at_least: bool = False
) -> Objective:
    met = measured is not None and (measured >= limit if at_least else measured <= limit)
    words = f"{key} is {measured}; the goal is {'at least' if at_least else 'at most'} {limit:g}"
    return Objective(key=key, limit=limit, floor=floor, measured=measured, met=met, words=words, at_least=at_least)


@cache
def sample_run(seed: int = 1, *, slower: float = 1.0, lost: int = 0, per_second: int = 40) -> Result:
    """Return a whole run of `steady`: 10,000 users, a stall in the fourth minute, a node killed near the end."""
    draw = Draw(seed, slower)
    second = {}
    for at in range(int(PLAN.seconds)):
        sending = _stage_at(at)[0].messages_per_second
        second[at] = draw.latencies_us(int(per_second * sending / RATE), 3.4, float(at))
    series = [_sample(at, values, draw) for at, values in second.items()]
    stages = _stages(second, series)
    judged = next(stage for stage in stages if stage.judged)
    objectives = objectives_of(judged.latency_ms, lost)
    missed = [objective for objective in objectives if not objective.met]
    return Result(
        verdict=Verdict.MISSED if missed else Verdict.MET,
        reasons=[each.words for each in missed],
        scenario="steady",
        title="A thousand messages a second between ten thousand devices",
        started="2026-11-23T00:12:00Z",
        seconds=PLAN.seconds,
        plan=msgspec.json.decode(msgspec.json.encode(PLAN)),
        users=Users(asked=USERS, connected=USERS, peak=USERS, connects=15_012, reconnects=5_012, failed=12),
        rate=Rate(target_per_second=RATE, achieved_per_second=998.7, deliveries_per_second=998.4),
        latency_ms=judged.latency_ms,
        messages=Messages(
            sent=299_610,
            acked=299_604,
            refused=6,
            due=299_604,
            received=299_598 - lost,
            lost=lost,
            after_gap=6,
            resent=31,
        ),
        generator=_generator(),
        stages=stages,
        series=series,
        close_codes={"1000": 9_988, "4000": 4, "1006": 12, "reset": 4_996, "refused": 12},
        refusals={"rate-limited": 6},
        objectives=objectives,
        findings=[Finding(name="memory-slope", value=0.7, unit="MiB/h", words="of the relay, over the held stage")],
        environment=ENVIRONMENT,
    )


def _generator() -> Generator:
    workers = [
        WorkerFigures(
            name=f"worker-{number}", cpu_max_percent=cpu, cpu_mean_percent=cpu - 9, rss_mib=310.5, late_max_ms=4.2
        )
        for number, cpu in enumerate((61.5, 58.0))
    ]
    return Generator(cpu_max_percent=61.5, workers=workers, expected_workers=2, clock_uncertainty_ms=0.0)


def rest_run() -> Result:
    """Return a run of the API: endpoints and their failures, no messages."""
    whole = sample_run()
    requests = whole.latency_ms.send_to_receive
    names = ("sign in", "refresh", "profile, read", "profile, write", "device, list", "prekeys, claim", "ticket")
    endpoints = [
        Endpoint(name=name, requests=9_000 // place, latency_ms=requests, failures={"429": 3} if place == 1 else {})
        for place, name in enumerate(names, 1)
    ]
    return msgspec.structs.replace(
        whole,
        scenario="rest",
        title="What clients ask of the API, mixed",
        endpoints=endpoints,
        messages=Messages(),
        latency_ms=Latencies(request=requests, raw_request=whole.latency_ms.raw_send_to_receive),
        plan={**whole.plan, "kind": "rest"},
    )


def empty_run(verdict: Verdict = Verdict.FAILED) -> Result:
    """Return a run that ended before anything was measured."""
    return Result(
        verdict=verdict,
        reasons=["Postgres did not start: the folder is not empty"],
        scenario="steady",
        started="2026-11-23T00:12:00Z",
        seconds=1.5,
        interrupted=verdict is Verdict.INVALID,
        users=Users(asked=USERS, connected=0, peak=0),
        rate=Rate(target_per_second=RATE, achieved_per_second=0.0),
        latency_ms=Latencies(),
        messages=Messages(),
        generator=Generator(cpu_max_percent=0.0, expected_workers=2, missing_workers=2),
    )
