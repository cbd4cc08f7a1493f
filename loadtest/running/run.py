"""One run: the plan followed stage by stage by the master, what is noted of it, and the line it shows each second."""

import sys
from collections.abc import Callable, Sequence
from secrets import randbits
from typing import Final

import gevent
import msgspec
from gevent.event import Event

from loadtest.gate import Slo, breaks
from loadtest.ledger.reports import StageSums, Totals
from loadtest.ledger.run_time import SECOND_NS, RunClock, boot_id
from loadtest.report.result import Sample
from loadtest.running import messages as m
from loadtest.running.result import RunRecord, StageRun, figures_of
from loadtest.running.system import System
from loadtest.running.workers import Workers, cpu_percent
from loadtest.scenarios.plan import SYSTEM_ACTIONS, Kind, Options, Plan, Stage

_AFTER_THE_SECOND: Final = 0.25  # workers speak at whole seconds of run time; a moment later everybody has been heard
_PREPARE_SECONDS: Final = 120.0
_REPORT_SECONDS: Final = 60.0
QUIET_SECONDS: Final = 4  # nothing came for so long: nothing more is under way
SETTLE_SECONDS: Final = 120
"""The longest pause between two tries, thirty seconds, twice; and the time that such a try may take, twice."""
_HURRIED_SECONDS: Final = 10  # for a run that was ended early
_RUN_BITS: Final = 63


class Settling:
    """Says when what is under way at the end of a run has come."""

    def __init__(self) -> None:
        self._quiet = 0

    def is_over(self, second: StageSums, whole: StageSums, heartbeats: Sequence[m.Heartbeat], pending: int) -> bool:
        """Whether everything came, or nothing more will. To be asked once a second, with what came in it."""
        came = second.received or second.acked_within or second.requests_within or second.connect.count
        # Who was cut off may wait half a minute before it tries again. What is due to it comes then, and is not lost;
        # a drain on a busy machine was once said to have lost a message after four seconds of such silence.
        away = sum(each.away for each in heartbeats)
        self._quiet = 0 if came or away else self._quiet + 1
        waiting = pending or any(each.waiting for each in heartbeats)
        return (not waiting and whole.received >= whole.due) or self._quiet >= QUIET_SECONDS


class Console:
    """Writes to standard error: over its own line on a terminal, and line by line elsewhere."""

    def __init__(self) -> None:
        self.last = ""
        self._shown = False

    def say(self, text: str, end: str = "\n") -> None:
        """Write a line that stays."""
        clear = "\r\x1b[2K" if self._shown else ""
        sys.stderr.write(f"{clear}{text}{end}")
        sys.stderr.flush()
        self.last, self._shown = text, not end

    def show(self, text: str) -> None:
        """Write a line that the next one may replace."""
        self.say(text, "" if sys.stderr.isatty() else "\n")


class Run:
    """Follows a plan once. Whoever wants it to end early calls `stop`: it settles, collects what there is, is done."""

    def __init__(
        self,
        plan: Plan,
        options: Options,
        slo: Slo,
        workers: Workers,
        system: System,
        console: Console,
        count: Callable[[StageSums], None],
    ) -> None:
        """`count` is told of each second, for Locust's own figures."""
        self.plan = plan
        self.record = RunRecord()
        self._options, self._slo, self._workers, self._system = options, slo, workers, system
        self._console, self._count = console, count
        self._clock = RunClock()
        self._stopped = Event()
        self._spawning: list[gevent.Greenlet] = []

    def stop(self) -> None:
        """End early, because somebody wishes it."""
        if not self._stopped.is_set():
            self.record.interrupted = True
            self._stopped.set()

    def run(self) -> None:
        """Go all the way. Raises nothing of the workers' doing: that is in the record."""
        try:
            if self._prepare():
                self._follow_plan()
                self._settle()
            self._collect()
        finally:
            gevent.killall(self._spawning)
            self._stopped.set()

    def _prepare(self) -> bool:
        there = self._workers.begin_run()
        self.record.expected_workers = len(there)
        number = randbits(_RUN_BITS)
        for worker, client in enumerate(there):
            task = m.Prepare(
                plan=self.plan,
                worker=worker,
                workers=len(there),
                crowd=str(self._system.crowd_file),
                outbox="" if self._system.stack is None else str(self._system.stack.outbox),
                run=number,
                seed=self._options.seed,
                even=self._options.even,
                boot=boot_id(),
            )
            self._workers.runner.send_message(m.PREPARE, msgspec.msgpack.encode(task), client)
        if not self._workers.wait_until_all("trouble", _PREPARE_SECONDS, self._stopped):
            self._check()
            return False
        self.record.failure = next((each.trouble for each in self._workers.states.values() if each.trouble), "")
        return not self.record.failure

    def _follow_plan(self) -> None:
        users = 0
        for index, stage in enumerate(self.plan.stages):
            held = StageRun(index=index, began_ns=self._clock.now_ns())
            self._begin(held, stage)
            if stage.users != users:
                # A master's `start` returns when they are there.
                users, start = stage.users, self._workers.runner.start
                gevent.killall(self._spawning)
                self._spawning = [gevent.spawn(start, users, stage.spawn_per_second)]
            self._hold(held, stage)
            held.ended_ns, held.connected = self._clock.now_ns(), self._connected
            if self._stopped.is_set() or self._is_broken(held, stage):
                return

    def _begin(self, held: StageRun, stage: Stage) -> None:
        if self.record.stages:
            self.record.stages[-1].ended_ns = held.began_ns
        self.record.stages.append(held)
        self.record.began_ns = self.record.began_ns or held.began_ns
        self._workers.judging = stage.judged
        self._workers.runner.send_message(m.STAGE, (held.index, held.began_ns))
        if stage.action in SYSTEM_ACTIONS:
            gevent.spawn(self._system.act, stage.action)

    def _hold(self, held: StageRun, stage: Stage) -> None:
        """Look each second until the stage is over."""
        until_ns = held.began_ns + round(stage.seconds * SECOND_NS)
        while (now_ns := self._clock.now_ns()) < until_ns:
            if self._stopped.wait(min(until_ns - now_ns, self._until_heartbeat_ns()) / SECOND_NS):
                return
            if (now_ns := self._clock.now_ns()) < until_ns:
                second, sample = self._look(stage.name)
                self._console.show(self._line(held, stage, (now_ns - held.began_ns) / SECOND_NS, second, sample))
            self._check()

    def _line(self, held: StageRun, stage: Stage, passed_s: float, second: Totals, sample: Sample) -> str:
        """Return how it goes: rates of this second, latency of the stage so far."""
        rest = self.plan.kind is Kind.REST
        failed = second.sum_of().failures + sum(second.connect_faults.values())
        so_far = self._timed(self._workers.totals.sum_of((held.index,)))
        p50, p99 = ("-" if ms is None else f"{ms:.1f} ms" for ms in so_far)
        place = f"{held.index + 1}/{len(self.plan.stages)} {stage.name} {passed_s:.0f}/{stage.seconds:.0f} s"
        words = (
            f"[{self.plan.scenario} {place}]",
            f"users {sample.connected:,}/{stage.users:,}",
            f"{'requests' if rest else 'sent'} {sample.sent_per_second:,.0f}/s of {stage.target_per_second:,.0f}",
            f"{'answered' if rest else 'received'} {sample.received_per_second:,.0f}/s",
            *([f"failed {failed:,}"] if failed else []),
            f"p50 {p50}  p99 {p99}",
            f"generator {sample.generator_cpu_percent:.0f} %",
        )
        return "  ".join(words)

    def _timed(self, sums: StageSums) -> tuple[float | None, ...]:
        timed = sums.request if self.plan.kind is Kind.REST else sums.send_to_receive
        return tuple(timed.percentiles_ms((50.0, 99.0)))

    def _check(self) -> None:
        """End the run when a worker or a part of the system is gone."""
        self.record.missing_workers = self._workers.missing()
        if self.record.missing_workers:
            self._stopped.set()
        stack = self._system.stack
        for name in stack.dead() if stack is not None else ():
            if (said := f"{name} ended by itself") not in self.record.broken:
                self.record.broken.append(said)
                self._console.say(said)
                self._stopped.set()

    def _is_broken(self, held: StageRun, stage: Stage) -> bool:
        """Whether this was the last stage of a ramp."""
        if not (self.plan.ramp and stage.judged):
            return False
        self._wait_heartbeat()  # until workers have told of all of it, they go on as they were
        held.ended_ns, held.connected = self._clock.now_ns(), self._connected
        self._look(stage.name)
        figures = figures_of(self.plan, held, self.record.began_ns, self._workers.totals, held.told_seconds)
        held.broke = breaks(figures, self._slo, stage.users)
        for each in held.broke:
            self._console.say(f"{stage.name} breaks: {each}")
        return bool(held.broke)

    def _settle(self) -> None:
        """Wait until what is under way has come, or nothing comes any more."""
        self._workers.runner.send_message(m.STAGE, (len(self.plan.stages), self.record.stages[-1].ended_ns))
        settling = Settling()
        self._wait_heartbeat()  # only what is said from now on knows of everything that was sent
        for passed in range(SETTLE_SECONDS):
            if self._stopped.is_set() and passed >= _HURRIED_SECONDS:
                break
            self._wait_heartbeat()
            now, whole = self._look("settle")[0].sum_of(), self._workers.totals.sum_of()
            over = settling.is_over(now, whole, self._workers.heartbeats, self._workers.totals.pending)
            if over or self._workers.missing():
                break
        self.record.ended_ns = self._clock.now_ns()

    def _wait_heartbeat(self) -> None:
        """Wait until workers have said how it is at the next whole second."""
        gevent.sleep(self._until_heartbeat_ns() / SECOND_NS)

    def _until_heartbeat_ns(self) -> int:
        return SECOND_NS - (self._clock.now_ns() - round(_AFTER_THE_SECOND * SECOND_NS)) % SECOND_NS

    def _collect(self) -> None:
        """Ask everybody for the whole ledger; who is gone took it along."""
        record, states = self.record, self._workers.states.values()
        record.ended_ns = record.ended_ns or self._clock.now_ns()
        if record.stages:
            self._workers.runner.send_message(m.FINISH)
            if not self._workers.wait_until_all("ledger", _REPORT_SECONDS):
                record.missing_workers = max(self._workers.missing(), 1)
        record.uncertainty_ns = self._workers.uncertainty_ns
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
        return self._workers.totals.connected

    def _look(self, stage: str) -> tuple[Totals, Sample]:
        """Take what workers have said since the last look, and add a row to the series."""
        second, rest = self._workers.take(), self.plan.kind is Kind.REST
        sums = second.sum_of()
        self._count(sums)
        self.record.peak = max(self.record.peak, self._connected)
        p50, p99 = self._timed(sums)
        busy = (cpu_percent(state.readings[-2:]) for state in self._workers.states.values())
        sample = Sample(
            at_s=round((self._clock.now_ns() - self.record.began_ns) / SECOND_NS, 2),
            stage=stage,
            users=sum(each.users for each in self._workers.heartbeats),
            connected=self._connected,
            sent_per_second=sums.requests_within if rest else sums.sent,
            received_per_second=sums.requests_within - sums.failures if rest else sums.received,
            p50_ms=p50,
            p99_ms=p99,
            raw_p99_ms=(sums.raw_request if rest else sums.raw_send_to_receive).percentile_ms(99.0),
            generator_cpu_percent=round(max(busy, default=0.0), 1),
            server=self._system.seen,
        )
        self.record.series.append(sample)
        return second, sample
