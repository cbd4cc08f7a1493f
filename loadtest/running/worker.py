"""A worker process: it prepares when told to, follows the stages, and reports."""

import gc
import logging
import os
import resource
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

import gevent
import msgspec
import psutil
from gevent import socket
from gevent.event import AsyncResult
from locust import User, task
from locust.env import Environment
from locust.event import Events
from locust.exception import StopUser

from loadtest.crowd.crowd import Crowd, read_crowd
from loadtest.exits import CouldNotRun
from loadtest.ledger.ledger import Ledger, PayloadCipher
from loadtest.ledger.run_time import PING_SECONDS, SECOND_NS, Pacer, RunClock, follow_clock, open_clock
from loadtest.rest.operations import ApiUser, ApiUsers
from loadtest.running import messages as m
from loadtest.scenarios.plan import Action, Kind
from loadtest.users.population import NoSeat, Population, place_of
from loadtest.users.relay_user import RelayUser

LATE_NS: Final = 100_000_000
"""A send that is taken up so long after it was due is a late one: the process did not get to run."""
_MIB: Final = 1 << 20
_NS_MS: Final = 1e6
# Allocations between two passes of the garbage collector: users are objects that live, and looking at them all costs
# milliseconds that would be counted as latency.
_YOUNG: Final = 50_000


Seated: TypeAlias = RelayUser | ApiUser


class Load:
    """The users of one run in this process, and who of them sends when."""

    def __init__(self, crowd: Crowd, task: m.Prepare, clock: RunClock) -> None:
        self.plan = task.plan
        self.ledger = Ledger(clock, PayloadCipher(crowd.payload_key, task.run))
        place = {"worker": task.worker, "workers": task.workers}
        self.population = Population(crowd, task.plan, self.ledger, clock, **place)
        self.pacer = Pacer(clock, self._fire, seed=task.seed * task.workers + task.worker, even=task.even)
        self.stage = -1
        self.waiting: deque[int] = deque()
        self.offered: dict[int, int] = {}
        self.late: dict[int, int] = {}
        self._share, self._clock, self._began_ns = task.workers, clock, 0
        self._spawn_distance = self._spawn_next = 0.0
        self.seated: dict[int, Seated] = {}
        outbox, rest = Path(task.outbox) if task.outbox else None, task.plan.kind is Kind.REST
        self._api_users = ApiUsers(crowd, self.ledger, clock, outbox, seed=task.seed) if rest else None
        self._pacing = gevent.spawn(self.pacer.run)

    def enter(self) -> Seated:
        """Wait for a turn and take a seat. Raises NoSeat."""
        # Locust spawns users in bursts, once a second: the relay would be measured with a queue that no crowd makes.
        now = time.monotonic()
        turn = max(self._spawn_next, now)
        self._spawn_next = turn + self._spawn_distance
        gevent.sleep(turn - now)
        seat = self.population.take_seat()
        user: Seated = RelayUser(self.population, seat) if self._api_users is None else self._api_users.open(seat)
        self.seated[seat] = user
        return user

    def leave(self, user: Seated) -> None:
        """Stop it, and give its seat back."""
        user.stop()
        if self.seated.pop(user.seat, None) is not None:
            self.population.give_back(user.seat)

    def open_stage(self, index: int, began_ns: int) -> None:
        """From `began_ns` on, do what this stage asks. Past the last one nothing more is offered."""
        self.ledger.open_stage(index, began_ns)
        if index == len(self.plan.stages):
            self.pacer.set_rate(0)
            self.population.settling = True
            return
        stage = self.plan.stages[index]
        self.stage, self._began_ns = index, began_ns
        self.offered[index] = self.late[index] = 0
        self._spawn_distance, self._spawn_next = self._share / stage.spawn_per_second, time.monotonic()
        self.pacer.set_rate(stage.target_per_second / self._share, began_ns)
        if stage.action in {Action.GO_OFFLINE, Action.COME_BACK}:
            for seat, user in self.seated.items():
                if isinstance(user, RelayUser) and place_of(seat) < self.plan.away_share:
                    user.go_offline() if stage.action is Action.GO_OFFLINE else user.come_back()

    @property
    def away(self) -> int:
        """Users who want to be there and are not. Only counted at the end: until then nobody asks."""
        users = self.seated.values() if self.population.settling else ()
        return sum(isinstance(user, RelayUser) and user.away_against_its_will for user in users)

    def close(self) -> None:
        """Stop everybody."""
        self._pacing.kill()
        for user in list(self.seated.values()):
            self.leave(user)
        self.population.close()

    def catch_up(self) -> None:
        """Send what no user was ready for, as far as there is one now."""
        while self.waiting and (device := self.population.ready.pick()) is not None and device.send(self.waiting[0]):
            self.waiting.popleft()

    def _fire(self, intended_ns: int) -> None:
        # What fell due before the stage began, and is taken up only now, belongs to the one before.
        stage = self.stage if intended_ns >= self._began_ns else self.stage - 1
        self.offered[stage] += 1
        self.late[stage] += self._clock.now_ns() - intended_ns > LATE_NS
        if self._api_users is not None:
            self._api_users.fire(intended_ns)
            return
        self.waiting.append(intended_ns)
        self.catch_up()


class VardeUser(User):
    """A Locust user, who takes a seat of the crowd. What is sent, by whom and when, the pacer decides."""

    load: ClassVar[Load | None] = None  # of this process; set before the first user is spawned
    seated: Seated | None = None

    @task
    def live(self) -> None:
        """Wait for the turn, take a seat, and live until stopped. A user who may not come back leaves for good."""
        assert self.load is not None
        with suppress(NoSeat):  # there are more users than seats: whoever asked for them sees it in the figures
            self.seated = self.load.enter()
            self.seated.live()
        raise StopUser

    def on_stop(self) -> None:
        """Leave the seat."""
        if self.load is not None and self.seated is not None:
            self.load.leave(self.seated)
            self.seated = None


class Worker:
    """Does what the master says for as long as the process lives, which may be several runs."""

    def __init__(self, runner: Any, crowd: Path | None) -> None:
        """`crowd` is this machine's own file of the crowd; without it, the path that the master names is read."""
        self._runner = runner
        self._crowd = crowd
        self._clock = RunClock()
        self._load: Load | None = None
        self._greenlets: list[gevent.Greenlet] = []
        self._pinged, self._pong = 0, AsyncResult()
        # What takes time has a greenlet of its own, so that pongs are heard meanwhile.
        runner.register_message(m.PREPARE, self._prepare, concurrent=True)
        runner.register_message(m.FINISH, self._finish, concurrent=True)
        runner.register_message(m.STAGE, self._on_stage)
        runner.register_message(m.PONG, self._on_pong)

    def _prepare(self, msg: Any, **_: Any) -> None:
        gevent.killall(self._greenlets)
        if self._load is not None:
            self._load.close()  # of an earlier run
        self._load = VardeUser.load = None
        try:
            task = msgspec.msgpack.decode(msg.data, type=m.Prepare)
            crowd = read_crowd(self._crowd or Path(task.crowd))
            self._clock = open_clock(task.boot, self._ping)
            self._load = VardeUser.load = Load(crowd, task, self._clock)
        except (CouldNotRun, gevent.Timeout, ValueError) as error:
            self._runner.send_message(m.PREPARED, (str(error) or "the master did not answer", 0))
            return
        # What is here now lives as long as the run, so the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG, 20, 20)
        self._greenlets = [gevent.spawn(self._tick, self._load), gevent.spawn(follow_clock, self._clock, self._ping)]
        self._runner.send_message(m.PREPARED, ("", self._clock.uncertainty_ns))

    def _on_stage(self, msg: Any, **_: Any) -> None:
        if self._load is not None:
            self._load.open_stage(*msg.data)
            gc.freeze()

    def _finish(self, **_: Any) -> None:
        if self._load is not None:
            self._greenlets[0].kill()
            self._send_heartbeat(self._load, self._load.ledger.report())

    def _tick(self, load: Load) -> None:
        """Say each whole second of run time how it goes, all workers at once."""
        while True:
            gevent.sleep((SECOND_NS - self._clock.now_ns() % SECOND_NS) / SECOND_NS)
            load.catch_up()
            self._send_heartbeat(load)

    def _send_heartbeat(self, load: Load, report: bytes = b"") -> None:
        heartbeat = m.Heartbeat(
            tick=load.ledger.tick(),
            ledger=report,
            at_ns=time.monotonic_ns(),
            cpu_ns=time.process_time_ns(),
            rss_mib=psutil.Process().memory_info().rss / _MIB,
            users=len(load.seated),
            offered=load.offered,
            late=load.late,
            uncertainty_ns=self._clock.uncertainty_ns,
            late_max_ms=load.pacer.late_max_ns / _NS_MS,
            waiting=len(load.waiting),
            away=load.away,
        )
        self._runner.send_message(m.HEARTBEAT, msgspec.msgpack.encode(heartbeat))

    def _ping(self) -> int:
        """Ask the master what time it is. Raises gevent.Timeout."""
        self._pinged, self._pong = time.monotonic_ns(), AsyncResult()
        self._runner.send_message(m.PING, self._pinged)
        return int(self._pong.get(timeout=PING_SECONDS))

    def _on_pong(self, msg: Any, **_: Any) -> None:
        number, now_ns = msg.data
        if number == self._pinged:  # an answer that came too late is none
            self._pong.set(now_ns)


def lift_limits() -> None:
    """Let this process open as many files as the system allows it: each user is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def work(master: tuple[str, int], crowd: Path | None, *, tethered: bool) -> int:
    """Work for a master until it says that all is over. Raises CouldNotRun when there is no master."""
    logging.getLogger("locust").setLevel(logging.ERROR)
    lift_limits()
    if tethered:
        gevent.spawn(_end_with_input)
    environment: Any = Environment(user_classes=[VardeUser], events=Events())  # type: ignore[no-untyped-call]
    try:
        runner = environment.create_worker_runner(*master)
    except (ConnectionError, OSError) as error:
        raise CouldNotRun(f"no master answers at {master[0]}:{master[1]}") from error
    Worker(runner, crowd)
    runner.greenlet.join()
    return 0


def _end_with_input() -> None:
    """End with whoever started us: its end of the pipe closes, whatever became of it."""
    while True:
        socket.wait_read(sys.stdin.fileno())
        if not os.read(sys.stdin.fileno(), 64):
            os._exit(0)
