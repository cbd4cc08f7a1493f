"""The way of one run through its plan, from the leader's side.

A course is a greenlet. Whoever wants it to end early calls `stop`: it settles, collects what there is, and is done.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import gevent
from gevent.event import Event
from msgspec import Struct

from loadtest.ledger.clock import RunClock
from loadtest.ledger.reports import Tick
from loadtest.report.result import Sample
from loadtest.running.deeds import SYSTEM_ACTIONS
from loadtest.running.posting import Began, Finish, Post, Prepare, Rest
from loadtest.running.progress import line_of
from loadtest.running.record import Passage, Record
from loadtest.running.roll import Roll
from loadtest.scenarios.plan import Action, Kind, Plan

_SECOND_NS: Final = 1_000_000_000
_AFTER_THE_SECOND: Final = 0.25
"""Workers speak at whole seconds of run time; a moment later everybody has been heard."""
_PREPARE_DEADLINE: Final = 120.0
_REPORT_DEADLINE: Final = 60.0
_LOCUST_DEADLINE: Final = 3.0
QUIET_SECONDS: Final = 4
"""Nothing came for so long: nothing more is under way."""
SETTLE_SECONDS: Final = 90
_HURRIED_SECONDS: Final = 10
"""For a run that was ended early."""


class Surroundings(Struct, kw_only=True):
    """What a course reads and calls, beside the workers."""

    act: Callable[[Action], None]
    """What befalls the system; it may take its time."""
    look: Callable[[], dict[str, float]]
    """The server's figures at this moment, without waiting."""
    fallen: Callable[[], list[str]]
    """Programs of the system that have ended by themselves."""
    breaks: Callable[[Passage, Tick], list[str]]
    """What of a stage of a ramp broke, in words."""
    show: Callable[[str], None]
    say: Callable[[str], None]
    tell: Callable[[Tick, Tick], None] = lambda _, __: None
    """For Locust's own figures: this second, and the run so far."""


class Course:
    """Follows a plan once."""

    def __init__(
        self, plan: Plan, task: Callable[[int, int], Prepare], roll: Roll, post: Post, around: Surroundings
    ) -> None:
        """`task(worker, workers)` says what a worker has to prepare."""
        self.plan = plan
        self.record = Record()
        self.done = Event()
        self._task = task
        self._roll = roll
        self._post = post
        self._around = around
        self._clock = RunClock()
        self._stopped = Event()
        self._users = (0, 1.0)
        self._upcoming: Passage | None = None
        self._begun = Event()
        self._whole, self._stage = Tick(), Tick()

    def target(self) -> tuple[int, float]:
        """Return how many users there are to be now, and how many of them are started each second.

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
                self._go()
                self._settle()
            self._collect()
        finally:
            self.done.set()

    def _prepare(self) -> bool:
        there = self._roll.call()
        self.record.expected_workers = len(there)
        for number, who in enumerate(there):
            self._post.say(self._task(number, len(there)), who)
        if not self._roll.wait_until_all("prepared", _PREPARE_DEADLINE, self._stopped):
            self._note_missing()
            return False
        prepared = [worker.prepared for worker in self._roll.workers.values() if worker.prepared is not None]
        self.record.failure = next((each.trouble for each in prepared if each.trouble), "")
        return not self.record.failure

    def _go(self) -> None:
        for index in range(len(self.plan.stages)):
            with self._passing(index) as passage:
                self._hold(passage)
            if self._stopped.is_set() or self._is_broken(passage):
                return

    @contextmanager
    def _passing(self, index: int) -> Iterator[Passage]:
        self._upcoming = passage = Passage(index=index, began_ns=0)
        self._begun.clear()
        if self._users[0] != self.plan.stages[index].users:
            self._begun.wait(_LOCUST_DEADLINE)
        self._begin()
        yield passage
        passage.ended_ns = self._clock.now_ns()
        passage.connected = self._connected

    def _begin(self) -> None:
        """Begin the stage that is to come, if there is one."""
        passage, self._upcoming = self._upcoming, None
        if passage is None:
            return
        stage = self.plan.stages[passage.index]
        passage.began_ns = self._clock.now_ns()
        if self.record.passages:
            self.record.passages[-1].ended_ns = passage.began_ns
        self.record.passages.append(passage)
        self.record.began_ns = self.record.began_ns or passage.began_ns
        self._stage = Tick()
        for worker in self._roll.workers.values():
            worker.effort.begin(judged=stage.judged)
        self._post.say(Began(index=passage.index, began_ns=passage.began_ns))
        self._users = (stage.users, stage.spawn_per_second)
        if stage.action in SYSTEM_ACTIONS:
            gevent.spawn(self._around.act, stage.action)
        self._begun.set()

    def _hold(self, passage: Passage) -> None:
        """Look each second until the stage is over."""
        until_ns = passage.began_ns + round(self.plan.stages[passage.index].seconds * _SECOND_NS)
        while (now_ns := self._clock.now_ns()) < until_ns:
            if self._stopped.wait(min(until_ns - now_ns, self._until_beat_ns()) / _SECOND_NS):
                return
            if self._clock.now_ns() < until_ns:
                self._look(passage)
            self._check()

    def _look(self, passage: Passage) -> None:
        second = self._take()
        passed_s = (self._clock.now_ns() - passage.began_ns) / _SECOND_NS
        self.record.series.append(self._sample(self.plan.stages[passage.index].name, second))
        self._around.show(
            line_of(self.plan, passage.index, passed_s, self._connected, second, self._stage, self._cpu_now)
        )

    def _take(self) -> Tick:
        second = self._roll.take_tick()
        self._whole.then(second)
        self._stage.then(second)
        self.record.peak = max(self.record.peak, self._connected)
        self._around.tell(second, self._whole)
        return second

    def _check(self) -> None:
        if self._roll.missing():
            self._note_missing()
        for name in self._around.fallen():
            said = f"{name} ended by itself"
            if said not in self.record.broken:
                self.record.broken.append(said)
                self._around.say(said)
                self._stopped.set()

    def _note_missing(self) -> None:
        self.record.missing_workers = missing = self._roll.missing()
        if missing:
            self.stop(why=f"{missing} of {self.record.expected_workers} workers went missing")

    def _is_broken(self, passage: Passage) -> bool:
        """Whether this was the last stage of a ramp."""
        stage = self.plan.stages[passage.index]
        if not (self.plan.ramp and stage.judged):
            return False
        self._wait_for_beat()  # until workers have told of all of it, they go on as they were
        passage.ended_ns, passage.connected = self._clock.now_ns(), self._connected
        self._take()
        passage.broke = self._around.breaks(passage, self._stage)
        for each in passage.broke:
            self._around.say(f"{stage.name} breaks: {each}")
        return bool(passage.broke)

    def _settle(self) -> None:
        """Wait until what is under way has come, or nothing comes any more."""
        self._post.say(Rest(ended_ns=self.record.passages[-1].ended_ns))
        quiet = 0
        self._wait_for_beat()  # only what is said from now on knows of everything that was sent
        for passed in range(SETTLE_SECONDS):
            if self._stopped.is_set() and passed >= _HURRIED_SECONDS:
                break
            self._wait_for_beat()
            second = self._take()
            self.record.series.append(self._sample("settle", second))
            quiet = 0 if second.received or second.acked or second.requests or second.connects else quiet + 1
            if self._is_settled() or quiet >= QUIET_SECONDS or self._roll.missing():
                break
        self.record.ended_ns = self._clock.now_ns()

    def _wait_for_beat(self) -> None:
        """Wait until workers have said how it is at the next whole second."""
        gevent.sleep(self._until_beat_ns() / _SECOND_NS)

    def _until_beat_ns(self) -> int:
        return _SECOND_NS - (self._clock.now_ns() - round(_AFTER_THE_SECOND * _SECOND_NS)) % _SECOND_NS

    def _is_settled(self) -> bool:
        whole = self._whole
        waiting = sum(beat.waiting for beat in self._roll.beats())
        return not (waiting or whole.pending) and whole.received >= whole.due

    def _collect(self) -> None:
        """Ask everybody for the whole ledger; who is gone took it along."""
        self.record.ended_ns = self.record.ended_ns or self._clock.now_ns()
        if self.record.passages:
            self._post.say(Finish())
            if not self._roll.wait_until_all("ledger", _REPORT_DEADLINE):
                self.record.missing_workers = max(self._roll.missing(), 1)
        self.record.uncertainty_ns = self._roll.uncertainty_ns()
        workers = self._roll.workers.values()
        for passage in self.record.passages:
            passage.offered = sum(beat.offered.get(passage.index, 0) for beat in self._roll.beats())
            passage.late = sum(beat.late.get(passage.index, 0) for beat in self._roll.beats())
        self.record.ledgers = [worker.ledger for worker in workers if worker.ledger is not None]
        self.record.workers = [worker.figures() for worker in workers]

    @property
    def _connected(self) -> int:
        """Devices at the relay; for REST, users."""
        if self.plan.kind is Kind.REST:
            return sum(beat.users for beat in self._roll.beats())
        return sum(worker.connected for worker in self._roll.workers.values())

    @property
    def _cpu_now(self) -> float:
        return max((worker.effort.now_percent for worker in self._roll.workers.values()), default=0.0)

    def _sample(self, stage: str, second: Tick) -> Sample:
        rest = self.plan.kind is Kind.REST
        p50, p99 = (second.request if rest else second.receive).percentiles_ms((50.0, 99.0))
        return Sample(
            at_s=round((self._clock.now_ns() - self.record.began_ns) / _SECOND_NS, 2),
            stage=stage,
            users=sum(beat.users for beat in self._roll.beats()),
            connected=self._connected,
            sent_per_second=second.requests if rest else second.sent,
            received_per_second=second.requests - second.failures if rest else second.received,
            p50_ms=p50,
            p99_ms=p99,
            raw_p99_ms=second.raw.percentile_ms(99.0),
            generator_cpu_percent=round(self._cpu_now, 1),
            server=self._around.look(),
        )
