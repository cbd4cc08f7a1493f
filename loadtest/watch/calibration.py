"""What one worker of the generator can do by itself: a worker's own load in this process, against a null server.

Half of the machine stays free for that server.
"""

import time
from collections.abc import Callable
from operator import sub
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import gevent
import psutil
from msgspec import Struct

from loadtest.crowd.crowd import read_crowd
from loadtest.exits import CouldNotRun
from loadtest.ledger.clock import RunClock
from loadtest.ledger.reports import Totals, read
from loadtest.running.messages import Prepare
from loadtest.scenarios.plan import Kind, Plan, Stage
from loadtest.watch.fingerprint import fingerprint
from loadtest.watch.null_server import NullServer, open_null_server

if TYPE_CHECKING:
    from loadtest.running.worker import Load

LIMIT_PERCENT: Final = 90.0  # of a core: above it a run is invalid
_RATES: Final = (0, *(500 << doubled for doubled in range(8)))  # nothing, then up to 64,000 a second
_DONE_SHARE: Final = 0.97
_UNDER_WAY: Final = 100  # users that connect at the same time
_CONNECT_SECONDS: Final = 60.0
_END_SECONDS: Final = 5.0


class Step(Struct, frozen=True):
    """Some seconds at one rate. Percent of one core."""

    offered_per_second: float
    done_per_second: float
    cpu_percent: float
    server_cpu_percent: float
    late_max_ms: float

    @property
    def went_well(self) -> bool:
        """Whether what was offered was done, with processor time to spare."""
        return self.cpu_percent < LIMIT_PERCENT and self.done_per_second >= _DONE_SHARE * self.offered_per_second


class Calibration(Struct, frozen=True, kw_only=True):
    """Of one worker process. A message is sent, acked, received by its one reader, and confirmed."""

    users: int
    connects_per_second: float  # as they went, with the null server's own part in the handshake
    connect_cpu_us: float
    idle_cpu_percent: float
    kib_per_user: float
    message_cpu_us: float | None
    messages_per_second: float | None  # at 90 % of a core, by what a message costs at the highest rate that went well
    steps: list[Step]
    environment: dict[str, Any]


def measure_generator(users: int, seconds: float, folder: Path, say: Callable[[str], None]) -> Calibration:
    """Measure one worker with so many users, a few seconds for each rate. Raises CouldNotRun."""
    from loadtest.running.worker import Load  # noqa: PLC0415 - it brings in Locust, which patches the process

    users += users % 2
    stages = tuple(
        Stage(name=str(rate), seconds=seconds, users=users, spawn_per_second=users, messages_per_second=rate)
        for rate in _RATES
    )
    plan = Plan(scenario="calibrate", kind=Kind.MESSAGING, stages=stages, seats=users)
    task = Prepare(plan=plan, worker=0, workers=1, crowd="", run=0, seed=0, even=True, boot="")
    with open_null_server(users, folder) as server:
        load, process, living = Load(read_crowd(server.crowd), task, RunClock()), psutil.Process(), list[Any]()
        server.crowd.unlink()
        try:
            say(f"{users:,} users connect")
            memory, before = process.memory_info().rss, _read(server)
            _connect(load, users, living)
            took, cpu, _ = map(sub, _read(server), before)
            grown = process.memory_info().rss - memory
            say("all users are idle")
            idle, steps = _measure(load, 0, server), list[Step]()
            for index, rate in enumerate(_RATES[1:], 1):
                steps.append(step := _measure(load, index, server))
                cores = f"CPU {step.cpu_percent:.0f} % (null server {step.server_cpu_percent:.0f} %)"
                late = f"{step.late_max_ms:.1f} ms late at worst"
                say(f"{rate:,} messages/s: {step.done_per_second:,.0f} done, {cores}, {late}")
                if not step.went_well:
                    break
        finally:
            load.open_stage(len(stages), time.monotonic_ns())
            load.close()
            gevent.joinall(living, timeout=_END_SECONDS)
    good = [step for step in steps if step.went_well]
    cost = (good[-1].cpu_percent - idle.cpu_percent) / 100 / good[-1].offered_per_second if good else None
    return Calibration(
        users=users,
        connects_per_second=round(users / took, 1),
        connect_cpu_us=round(cpu / users * 1e6, 1),
        idle_cpu_percent=round(idle.cpu_percent, 2),
        kib_per_user=round(grown / 1024 / users, 1),
        message_cpu_us=None if cost is None else round(cost * 1e6, 1),
        messages_per_second=None if not cost else round((LIMIT_PERCENT - idle.cpu_percent) / 100 / cost),
        steps=steps,
        environment=fingerprint(),
    )


def _connect(load: "Load", users: int, living: list[Any]) -> None:
    """Connect all users, at most `_UNDER_WAY` at the same time. Raises CouldNotRun."""
    try:
        with gevent.Timeout(_CONNECT_SECONDS):
            while len(load.population.ready) < users:
                if len(living) < min(users, load.population.connected + _UNDER_WAY):
                    living.append(gevent.spawn(lambda: load.enter().live()))
                else:
                    gevent.sleep(0.005)
    except gevent.Timeout:
        raise CouldNotRun("not every user connected to the null server: see `loadtest preflight`") from None


def _read(server: NullServer) -> tuple[float, float, float]:
    """Return seconds of the clock, and of CPU of this process and of the server."""
    return time.monotonic(), time.process_time(), server.cpu_seconds()


def _measure(load: "Load", index: int, server: NullServer) -> Step:
    """Hold a stage of the plan."""
    stage = load.plan.stages[index]
    load.ledger.tick()
    load.pacer.late_max_ns = 0
    before = _read(server)
    load.open_stage(index, time.monotonic_ns())
    gevent.sleep(stage.seconds)
    took, cpu, server_cpu = map(sub, _read(server), before)
    done, late_ms = read(load.ledger.tick(), Totals).sum_of().received, load.pacer.late_max_ns / 1e6
    return Step(stage.messages_per_second, done / took, 100 * cpu / took, 100 * server_cpu / took, late_ms)
