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

from loadtest.crowd.crowd import Crowd, read_crowd
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
_FIRST_RATE: Final = 500
_TOP_RATE: Final = 64_000
_DONE_SHARE: Final = 0.97
_UNDER_WAY: Final = 100  # users that connect at the same time
_CONNECT_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.005
_END_SECONDS: Final = 5.0

_Say = Callable[[str], None]


class CalibrationFault(Exception):
    """The generator could not be calibrated; the text says what did not happen."""


class Step(Struct, frozen=True):
    """Some seconds at one rate. Percent of one core."""

    offered_per_second: float
    done_per_second: float
    cpu_percent: float
    server_cpu_percent: float
    late_max_ms: float


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


def _reading(server: NullServer) -> tuple[float, float, float]:
    """Seconds of the clock, and of CPU of this process and of the server."""
    return time.monotonic(), time.process_time(), server.cpu_seconds()


class _Worker:
    """The users of one worker, connected to a null server."""

    def __init__(self, crowd: Crowd, users: int, server: NullServer) -> None:
        stage = Stage(name="calibrate", seconds=1, users=users, spawn_per_second=users)
        plan = Plan(scenario="calibrate", kind=Kind.MESSAGING, stages=(stage,), seats=users)
        self._server = server
        self._ledger = Ledger(clock := RunClock(), PayloadCipher(crowd.payload_key))
        self._ledger.open_stage(0, clock.now_ns())
        self._population = Population(crowd, plan, self._ledger, clock, worker=0, workers=1)
        self._pacer = Pacer(clock, self._send, even=True)
        self._tasks = [gevent.spawn(self._pacer.run)]
        self._users: list[RelayUser] = []

    def connect(self, users: int) -> None:
        """Connect all users, at most `_UNDER_WAY` at the same time. Raises CalibrationFault."""
        for _ in range(users):
            user = RelayUser(self._population, self._population.take_seat())
            self._users.append(user)
            self._tasks.append(gevent.spawn(user.live))
            self._wait_for(lambda: len(self._users) - self._population.connected < _UNDER_WAY)
        self._wait_for(lambda: len(self._population.ready) == users)

    def measure(self, seconds: float, rate: float = 0.0) -> Step:
        """Offer a rate for some seconds."""
        merge_ticks([self._ledger.tick()])
        self._pacer.late_max_ns = 0
        before = _reading(self._server)
        self._pacer.set_rate(rate)
        gevent.sleep(seconds)
        took, cpu, server_cpu = map(sub, _reading(self._server), before)
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

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + _CONNECT_SECONDS
        while not condition():
            if time.monotonic() > end:
                raise CalibrationFault("not every user connected to the null server: see `loadtest preflight`")
            gevent.sleep(_POLL_SECONDS)


def measure_generator(users: int, seconds: float, folder: Path, say: _Say) -> Calibration:
    """Measure one worker with so many users, a few seconds for each rate. Raises CalibrationFault, NullServerFault."""
    users += users % 2
    with open_null_server(users, folder) as server:
        worker = _Worker(read_crowd(server.crowd), users, server)
        try:
            return _measure(worker, users, seconds, say, server)
        finally:
            worker.close()
            server.crowd.unlink(missing_ok=True)


def _measure(worker: _Worker, users: int, seconds: float, say: _Say, server: NullServer) -> Calibration:
    say(f"{users:,} users connect")
    own, before = psutil.Process(), _reading(server)
    memory = own.memory_info().rss
    worker.connect(users)
    took, cpu, _ = map(sub, _reading(server), before)
    grown = own.memory_info().rss - memory
    say("all users are idle")
    idle = worker.measure(seconds)
    steps = _climb(worker, seconds, say)
    good = [step for step in steps if _went_well(step)]
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


def _climb(worker: _Worker, seconds: float, say: _Say) -> list[Step]:
    """Double the rate until something is full."""
    steps: list[Step] = []
    rate = _FIRST_RATE
    while rate <= _TOP_RATE and (not steps or _went_well(steps[-1])):
        steps.append(step := worker.measure(seconds, rate))
        shares = f"CPU {step.cpu_percent:.0f} % (null server {step.server_cpu_percent:.0f} %)"
        say(f"{rate:,} messages/s: {step.done_per_second:,.0f} done, {shares}, {step.late_max_ms:.1f} ms late at worst")
        rate *= 2
    return steps


def _went_well(step: Step) -> bool:
    return step.cpu_percent < LIMIT_PERCENT and step.done_per_second >= _DONE_SHARE * step.offered_per_second
