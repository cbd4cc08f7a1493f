"""One run: the plan followed stage by stage by the master, and what is noted of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import gevent
from gevent.event import Event
from msgspec import Struct, field

from loadtest.ledger.clock import RunClock
from loadtest.ledger.reports import Tick
from loadtest.report.result import Sample, WorkerFigures
from loadtest.running.messages import Channel, Finish, Prepare, Settle, StageBegan
from loadtest.running.progress import Progress, line_of
from loadtest.running.system import System
from loadtest.running.workers import Workers
from loadtest.scenarios.plan import SYSTEM_ACTIONS, Kind, Plan

_SECOND_NS: Final = 1_000_000_000
_AFTER_THE_SECOND: Final = 0.25  # workers speak at whole seconds of run time; a moment later everybody has been heard
_PREPARE_SECONDS: Final = 120.0
_REPORT_SECONDS: Final = 60.0
_LOCUST_SECONDS: Final = 3.0
_QUIET_SECONDS: Final = 4  # nothing came for so long: nothing more is under way
SETTLE_SECONDS: Final = 90
_HURRIED_SECONDS: Final = 10  # for a run that was ended early


class StageRun(Struct, kw_only=True):
    """One stage as it went. Times are nanoseconds of run time."""

    index: int
    began_ns: int
    ended_ns: int = 0
    offered: int = 0  # by the generator, by the end
    late: int = 0  # of those, sends that the generator took up too late
    connected: int = 0  # at the end
    broke: list[str] = field(default_factory=list)
    """Of a ramp: what gave way in it, in words, as it was seen when it ended."""

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return (self.ended_ns - self.began_ns) / _SECOND_NS

    @property
    def heartbeats(self) -> int:
        """How many whole seconds of run time passed in it: so often each worker has told what it did."""
        return self.ended_ns // _SECOND_NS - self.began_ns // _SECOND_NS


class RunRecord(Struct, kw_only=True):
    """One run, from its first stage on."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    began_ns: int = 0
    ended_ns: int = 0
    stages: list[StageRun] = field(default_factory=list)
    series: list[Sample] = field(default_factory=list)
    peak: int = 0
    interrupted: bool = False
    expected_workers: int = 0
    missing_workers: int = 0
    workers: list[WorkerFigures] = field(default_factory=list)
    uncertainty_ns: int = 0
    ledgers: list[bytes] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)  # why nothing was learned, in words
    broken: list[str] = field(default_factory=list)  # what of the system broke that must not, in words
    failure: str = ""  # why there was no run at all


class Run:
    """Follows a plan once. Whoever wants it to end early calls `stop`: it settles, collects what there is, is done."""

    def __init__(
        self,
        plan: Plan,
        workers: Workers,
        channel: Channel,
        system: System,
        progress: Progress,
        *,
        prepare: Callable[[int, int], Prepare],
        breaks: Callable[[StageRun, Tick], list[str]],
        count: Callable[[Tick], None],
    ) -> None:
        """`prepare(worker, workers)` says what a worker has to do, `breaks` what of a stage of a ramp broke, in words.

        `count` is told of each second, for Locust's own figures.
        """
        self.plan = plan
        self.record = RunRecord()
        self.done = Event()
        self._workers, self._channel, self._system, self._progress = workers, channel, system, progress
        self._task, self._breaks, self._count = prepare, breaks, count
        self._clock = RunClock()
        self._stopped = Event()
        self._users = (0, 1.0)
        self._upcoming: StageRun | None = None
        self._begun = Event()
        self._whole, self._stage = Tick(), Tick()

    def target(self) -> tuple[int, float]:
        """Return how many users there are to be now, and how many of them are spawned each second.

        Locust asks once a second. A stage that changes the number begins as it asks, so that nobody comes late.
        """
        self._begin()
        return self._users

    def stop(self, *, why: str = "") -> None:
        """End early. Without a reason it is somebody's wish: the run is interrupted."""
        if not self._stopped.is_set() and not self.done.is_set():
            self.record.interrupted = not why
            if why:
                self.record.invalid.append(why)
            self._stopped.set()

    def run(self) -> None:
        """Go all the way. Raises nothing of the workers' doing: that is in the record."""
        try:
            if self._prepare():
                self._follow_plan()
                self._settle()
            self._collect()
        finally:
            self.done.set()

    def _prepare(self) -> bool:
        there = self._workers.begin_run()
        self.record.expected_workers = len(there)
        for number, client in enumerate(there):
            self._channel.send(self._task(number, len(there)), client)
        if not self._workers.wait_until_all("prepared", _PREPARE_SECONDS, self._stopped):
            self._note_missing()
            return False
        prepared = [state.prepared for state in self._workers.states.values() if state.prepared is not None]
        self.record.failure = next((each.trouble for each in prepared if each.trouble), "")
        return not self.record.failure

    def _follow_plan(self) -> None:
        for index in range(len(self.plan.stages)):
            with self._open_stage(index) as stage:
                self._hold(stage)
            if self._stopped.is_set() or self._is_broken(stage):
                return

    @contextmanager
    def _open_stage(self, index: int) -> Iterator[StageRun]:
        self._upcoming = stage = StageRun(index=index, began_ns=0)
        self._begun.clear()
        if self._users[0] != self.plan.stages[index].users:
            self._begun.wait(_LOCUST_SECONDS)
        self._begin()
        yield stage
        stage.ended_ns, stage.connected = self._clock.now_ns(), self._connected

    def _begin(self) -> None:
        """Begin the stage that is to come, if there is one."""
        begun, self._upcoming = self._upcoming, None
        if begun is None:
            return
        stage = self.plan.stages[begun.index]
        begun.began_ns = self._clock.now_ns()
        if self.record.stages:
            self.record.stages[-1].ended_ns = begun.began_ns
        self.record.stages.append(begun)
        self.record.began_ns = self.record.began_ns or begun.began_ns
        self._stage = Tick()
        for state in self._workers.states.values():
            state.cpu.begin_stage(judged=stage.judged)
        self._channel.send(StageBegan(index=begun.index, began_ns=begun.began_ns))
        self._users = (stage.users, stage.spawn_per_second)
        if stage.action in SYSTEM_ACTIONS:
            gevent.spawn(self._system.act, stage.action)
        self._begun.set()

    def _hold(self, stage: StageRun) -> None:
        """Look each second until the stage is over."""
        until_ns = stage.began_ns + round(self.plan.stages[stage.index].seconds * _SECOND_NS)
        while (now_ns := self._clock.now_ns()) < until_ns:
            if self._stopped.wait(min(until_ns - now_ns, self._until_heartbeat_ns()) / _SECOND_NS):
                return
            if self._clock.now_ns() < until_ns:
                second = self._take()
                self._sample(self.plan.stages[stage.index].name, second)
                passed_s, cpu = (self._clock.now_ns() - stage.began_ns) / _SECOND_NS, self._workers.cpu_percent
                seen = (self._connected, second, self._stage, cpu)
                self._progress.show(line_of(self.plan, stage.index, passed_s, *seen))
            self._check()

    def _take(self) -> Tick:
        second = self._workers.take_tick()
        self._whole.then(second)
        self._stage.then(second)
        self.record.peak = max(self.record.peak, self._connected)
        self._count(second)
        return second

    def _check(self) -> None:
        if self._workers.missing():
            self._note_missing()
        for name in self._system.dead():
            said = f"{name} ended by itself"
            if said not in self.record.broken:
                self.record.broken.append(said)
                self._progress.say(said)
                self._stopped.set()

    def _note_missing(self) -> None:
        self.record.missing_workers = missing = self._workers.missing()
        if missing:
            self.stop(why=f"{missing} of {self.record.expected_workers} workers went missing")

    def _is_broken(self, held: StageRun) -> bool:
        """Whether this was the last stage of a ramp."""
        stage = self.plan.stages[held.index]
        if not (self.plan.ramp and stage.judged):
            return False
        self._wait_heartbeat()  # until workers have told of all of it, they go on as they were
        held.ended_ns, held.connected = self._clock.now_ns(), self._connected
        self._take()
        held.broke = self._breaks(held, self._stage)
        for each in held.broke:
            self._progress.say(f"{stage.name} breaks: {each}")
        return bool(held.broke)

    def _settle(self) -> None:
        """Wait until what is under way has come, or nothing comes any more."""
        self._channel.send(Settle(ended_ns=self.record.stages[-1].ended_ns))
        quiet = 0
        self._wait_heartbeat()  # only what is said from now on knows of everything that was sent
        for passed in range(SETTLE_SECONDS):
            if self._stopped.is_set() and passed >= _HURRIED_SECONDS:
                break
            self._wait_heartbeat()
            second = self._take()
            self._sample("settle", second)
            quiet = 0 if second.received or second.acked or second.requests or second.connects else quiet + 1
            whole = self._whole
            waiting = whole.pending or any(each.waiting for each in self._workers.heartbeats)
            settled = not waiting and whole.received >= whole.due
            if settled or quiet >= _QUIET_SECONDS or self._workers.missing():
                break
        self.record.ended_ns = self._clock.now_ns()

    def _wait_heartbeat(self) -> None:
        """Wait until workers have said how it is at the next whole second."""
        gevent.sleep(self._until_heartbeat_ns() / _SECOND_NS)

    def _until_heartbeat_ns(self) -> int:
        return _SECOND_NS - (self._clock.now_ns() - round(_AFTER_THE_SECOND * _SECOND_NS)) % _SECOND_NS

    def _collect(self) -> None:
        """Ask everybody for the whole ledger; who is gone took it along."""
        record, states = self.record, self._workers.states.values()
        record.ended_ns = record.ended_ns or self._clock.now_ns()
        if record.stages:
            self._channel.send(Finish())
            if not self._workers.wait_until_all("ledger", _REPORT_SECONDS):
                record.missing_workers = max(self._workers.missing(), 1)
        record.uncertainty_ns = self._workers.uncertainty_ns()
        for stage in record.stages:
            stage.offered = sum(each.offered.get(stage.index, 0) for each in self._workers.heartbeats)
            stage.late = sum(each.late.get(stage.index, 0) for each in self._workers.heartbeats)
        record.ledgers = [state.ledger for state in states if state.ledger is not None]
        record.workers = [state.figures() for state in states]

    @property
    def _connected(self) -> int:
        """Devices at the relay; for REST, users."""
        if self.plan.kind is Kind.REST:
            return sum(each.users for each in self._workers.heartbeats)
        return sum(state.connected for state in self._workers.states.values())

    def _sample(self, stage: str, second: Tick) -> None:
        rest = self.plan.kind is Kind.REST
        p50, p99 = (second.request if rest else second.receive).percentiles_ms((50.0, 99.0))
        self.record.series.append(
            Sample(
                at_s=round((self._clock.now_ns() - self.record.began_ns) / _SECOND_NS, 2),
                stage=stage,
                users=sum(each.users for each in self._workers.heartbeats),
                connected=self._connected,
                sent_per_second=second.requests if rest else second.sent,
                received_per_second=second.requests - second.failures if rest else second.received,
                p50_ms=p50,
                p99_ms=p99,
                raw_p99_ms=second.raw.percentile_ms(99.0),
                generator_cpu_percent=round(self._workers.cpu_percent, 1),
                server=self._system.seen,
            )
        )
