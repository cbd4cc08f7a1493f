"""What one worker of the generator can do by itself, against a server that does nothing.

It runs in the calling process, on gevent and without Locust; half of the machine stays free for the null server.
"""

import time
from collections.abc import Callable
from operator import sub
from pathlib import Path
from typing import Any, Final

import gevent
import psutil
from msgspec import Struct

from loadtest.crowd.crowd import read_crowd
from loadtest.exits import CouldNotRun
from loadtest.ledger.clock import RunClock
from loadtest.ledger.ledger import Ledger
from loadtest.ledger.payload import PayloadCipher
from loadtest.ledger.reports import merge_ticks
from loadtest.ledger.schedule import Pacer
from loadtest.scenarios.plan import Kind, Plan, Stage
from loadtest.users.population import Population
from loadtest.users.relay_user import RelayUser
from loadtest.watch.fingerprint import fingerprint
from loadtest.watch.null_server import NullServer, open_null_server

LIMIT_PERCENT: Final = 90.0  # of a core: above it a run is invalid
_RATES: Final = tuple(500 << doubled for doubled in range(8))  # up to 64,000 a second
_DONE_SHARE: Final = 0.97
_UNDER_WAY: Final = 100  # users that connect at the same time
_CONNECT_SECONDS: Final = 60.0
_END_SECONDS: Final = 5.0


class CalibrationFault(CouldNotRun):
    """The generator could not be calibrated; the text says what did not happen."""


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


class _Worker:
    """The users of one worker, connected to a null server."""

    def __init__(self, users: int, server: NullServer) -> None:
        crowd, clock = read_crowd(server.crowd), RunClock()
        stage = Stage(name="calibrate", seconds=1, users=users, spawn_per_second=users)
        plan = Plan(scenario="calibrate", kind=Kind.MESSAGING, stages=(stage,), seats=users)
        self._server = server
        self._ledger = Ledger(clock, PayloadCipher(crowd.payload_key))
        self._ledger.open_stage(0, clock.now_ns())
        self._population = Population(crowd, plan, self._ledger, clock, worker=0, workers=1)
        self._pacer = Pacer(clock, self._send, even=True)
        self._tasks = [gevent.spawn(self._pacer.run)]
        self._users: list[RelayUser] = []

    def connect(self, users: int) -> None:
        """Connect all users, at most `_UNDER_WAY` at the same time. Raises CalibrationFault."""
        try:
            with gevent.Timeout(_CONNECT_SECONDS):
                while len(self._population.ready) < users:
                    if len(self._users) < min(users, self._population.connected + _UNDER_WAY):
                        self._users.append(user := RelayUser(self._population, self._population.take_seat()))
                        self._tasks.append(gevent.spawn(user.live))
                    else:
                        gevent.sleep(0.005)
        except gevent.Timeout:
            raise CalibrationFault("not every user connected to the null server: see `loadtest preflight`") from None

    def reading(self) -> tuple[float, float, float]:
        """Return seconds of the clock, and of CPU of this process and of the server."""
        return time.monotonic(), time.process_time(), self._server.cpu_seconds()

    def measure(self, seconds: float, rate: float = 0.0) -> Step:
        """Offer a rate for some seconds."""
        merge_ticks([self._ledger.tick()])
        self._pacer.late_max_ns = 0
        before = self.reading()
        self._pacer.set_rate(rate)
        gevent.sleep(seconds)
        took, cpu, server_cpu = map(sub, self.reading(), before)
        self._pacer.set_rate(0)
        done = merge_ticks([self._ledger.tick()]).received
        return Step(rate, done / took, 100 * cpu / took, 100 * server_cpu / took, self._pacer.late_max_ns / 1e6)

    def close(self) -> None:
        """Disconnect all users."""
        for user in self._users:
            user.stop()
        gevent.joinall(self._tasks[1:], timeout=_END_SECONDS)
        gevent.killall(self._tasks, timeout=_END_SECONDS)
        self._population.close()

    def _send(self, intended_ns: int) -> None:
        user = self._population.ready.pick()
        if user is not None:
            user.send(intended_ns)


def measure_generator(users: int, seconds: float, folder: Path, say: Callable[[str], None]) -> Calibration:
    """Measure one worker with so many users, a few seconds for each rate. Raises CalibrationFault, NullServerFault."""
    users += users % 2
    with open_null_server(users, folder) as server:
        worker, process = _Worker(users, server), psutil.Process()
        server.crowd.unlink()
        try:
            say(f"{users:,} users connect")
            memory, before = process.memory_info().rss, worker.reading()
            worker.connect(users)
            took, cpu, _ = map(sub, worker.reading(), before)
            grown = process.memory_info().rss - memory
            say("all users are idle")
            idle = worker.measure(seconds)
            steps = list[Step]()
            for rate in _RATES:
                steps.append(step := worker.measure(seconds, rate))
                cores = f"CPU {step.cpu_percent:.0f} % (null server {step.server_cpu_percent:.0f} %)"
                late = f"{step.late_max_ms:.1f} ms late at worst"
                say(f"{rate:,} messages/s: {step.done_per_second:,.0f} done, {cores}, {late}")
                if not step.went_well:
                    break
        finally:
            worker.close()
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
