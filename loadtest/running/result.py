"""The result of a run, however it ended: record and ledgers put together, judged, written, told in a few lines."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from loadtest.crowd.crowd import Room
from loadtest.exits import EXIT_CODES, Verdict
from loadtest.gate import Slo, breaking_point, judge
from loadtest.ledger.reports import Account, LedgerError, Totals, merge_counts, reconcile
from loadtest.ledger.run_time import SECOND_NS
from loadtest.report import result as r
from loadtest.report.result import Result, Sample, StageFigures, WorkerFigures
from loadtest.scenarios.plan import SCENARIOS, Kind, Options, Plan, Stage
from loadtest.watch.machine import fingerprint

OFFERED_SHARE: Final = 0.98
LATE_SHARE: Final = 0.01
"""Of the sends of the judged stages, those that may be late: beyond, a 99th percentile is the generator's own."""
_LATE_LEAST: Final = 20  # late sends that one hiccup of a small run may make
_SIGMAS: Final = 4  # arrivals are random: so many square roots of their number may be missing without anybody's fault
_NS_MS: Final = 1e6


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
        return (self.ended_ns - self.began_ns) / SECOND_NS

    @property
    def told_seconds(self) -> float:
        """Of how much of it workers have told: they speak at whole seconds of run time."""
        return max(0.0, self.ended_ns // SECOND_NS - self.began_ns / SECOND_NS)


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
    broken: list[str] = field(default_factory=list)  # what of the system broke that must not, in words
    failure: str = ""  # why there was no run at all


_Judged = Sequence[tuple[Stage, StageRun]]


def folder_of(options: Options) -> Path:
    """Return the folder that was asked for, or a new one with the scenario and the time as its name; it is made."""
    now = datetime.now(UTC)
    folder = options.out or r.RUNS / f"{options.scenario}-{now:%Y%m%dT%H%M%SZ}"
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    return folder


def conclude(plan: Plan, record: RunRecord, rooms: Sequence[Room], options: Options, slo: Slo) -> Result:
    """Return the judged result."""
    result = gather(plan, record, rooms, clock_budget_ms=options.clock_budget_ms, even=options.even)
    result = msgspec.structs.replace(result, title=SCENARIOS[plan.scenario].title, environment=fingerprint())
    if plan.ramp:
        ended_by = record.stages[-1].broke if record.stages else []
        whole = result.stages[:-1] if record.interrupted else result.stages  # the last one was cut short
        point = breaking_point(whole, slo, result.users.asked, ended_by=ended_by)
        result = msgspec.structs.replace(result, findings=[point])
    result = judge(result, slo)
    if record.broken:  # a system of which a part ended by itself has missed, whatever else was measured
        verdict = Verdict.MISSED if result.verdict is Verdict.MET else result.verdict
        result = msgspec.structs.replace(result, verdict=verdict, reasons=[*result.reasons, *record.broken])
    return result


def publish(result: Result, folder: Path) -> list[str]:
    """Write the reports, and return the last lines: the verdict, the objectives, and where everything lies."""
    from loadtest.report.outputs import write_reports  # noqa: PLC0415 - matplotlib takes a second to import

    written = write_reports(result, folder)
    lines = [""]
    lines += [f"  {'met   ' if each.met else 'MISSED'}  {each.words}" for each in result.objectives]
    lines += [f"  found   {finding.words}" for finding in result.findings]
    lines += ["", f"{result.scenario}: {result.verdict.value.upper()} (exit code {EXIT_CODES[result.verdict]})"]
    if result.verdict in {Verdict.INVALID, Verdict.FAILED}:
        lines += [f"  {reason}" for reason in result.reasons]
    return [*lines, f"  {next((path for path in written if path.suffix == '.html'), folder)}"]


def gather(
    plan: Plan, record: RunRecord, rooms: Sequence[Room], *, clock_budget_ms: float = 1.0, even: bool = False
) -> Result:
    """Return the result of a run, not judged yet."""
    try:
        account, troubles = reconcile(record.ledgers, rooms), list[str]()
    except LedgerError as error:
        account, troubles = reconcile((), ()), [f"the ledgers do not fit: {error}"]
    judged = [(plan.stages[each.index], each) for each in record.stages if plan.stages[each.index].judged]
    bottlenecks = [*troubles, *_bottlenecks(record, judged, clock_budget_ms, even=even)]
    failed, indices = bool(record.failure), [stage.index for _, stage in judged]
    ends = [stage.connected for stage in ([held for _, held in judged] or record.stages)]
    connected = ends[-1] if ends else 0
    whole, closes = account.sum_of(), dict(account.close_codes)
    merge_counts(closes, account.connect_faults)
    return Result(
        verdict=Verdict.FAILED if failed else Verdict.INVALID if bottlenecks or record.interrupted else Verdict.MET,
        reasons=[record.failure] if failed else [],
        scenario=plan.scenario,
        started=record.started.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        seconds=round((record.ended_ns - record.began_ns) / SECOND_NS, 1) if record.began_ns else 0.0,
        interrupted=record.interrupted,
        plan=msgspec.to_builtins(plan),
        users=r.Users(
            asked=max(stage.users for stage in plan.stages),
            connected=connected,
            peak=max(record.peak, connected),
            connects=whole.connect.count,
            reconnects=account.reconnects,
            failed=sum(account.connect_faults.values()),
        ),
        rate=_rate(plan, judged, account),
        latency_ms=account.sum_of(indices).latencies(),
        messages=account.messages,
        requests=r.Requests(done=whole.requests_within, failed=whole.failures),
        generator=r.Generator(
            cpu_max_percent=max((worker.cpu_max_percent for worker in record.workers), default=0.0),
            workers=record.workers,
            expected_workers=record.expected_workers,
            missing_workers=record.missing_workers,
            clock_uncertainty_ms=round(record.uncertainty_ns / _NS_MS, 4),
            late_percent=round(100 * _late_share(judged)[1], 3),
            bottlenecks=bottlenecks,
        ),
        endpoints=account.endpoints_of(indices),
        stages=[figures_of(plan, stage, record.began_ns, account, stage.seconds) for stage in record.stages],
        series=record.series,
        close_codes=closes,
        refusals=account.refusals,
    )


def figures_of(plan: Plan, held: StageRun, began_ns: int, totals: Totals, seconds: float) -> StageFigures:
    """Return a stage of which so many seconds are known: a second that is missing is no lost throughput."""
    stage, sums = plan.stages[held.index], totals.sum_of((held.index,))
    return StageFigures(
        name=stage.name,
        began_s=round((held.began_ns - began_ns) / SECOND_NS, 2),
        seconds=round(seconds, 2),
        judged=stage.judged,
        users=held.connected,
        messages_per_second=round(sums.acked_within / max(seconds, 1e-9), 2),
        requests_per_second=round(sums.requests_within / max(seconds, 1e-9), 2),
        target_per_second=stage.target_per_second,
        latency_ms=sums.latencies(),
    )


def _rate(plan: Plan, judged: _Judged, account: Account) -> r.Rate:
    """What fell due is the target: with random arrivals it is the stage's rate in the mean only."""
    seconds = sum(stage.seconds for _, stage in judged)
    if not seconds:
        planned = max((stage.target_per_second for stage in plan.stages if stage.judged), default=0.0)
        return r.Rate(target_per_second=planned, achieved_per_second=0.0)
    sums = account.sum_of(stage.index for _, stage in judged)
    done = sums.requests_within if plan.kind is Kind.REST else sums.acked_within
    return r.Rate(
        target_per_second=round(sum(stage.offered for _, stage in judged) / seconds, 2),
        achieved_per_second=round(done / seconds, 2),
        deliveries_per_second=round(sums.received_within / seconds, 2),
    )


def _bottlenecks(record: RunRecord, judged: _Judged, clock_budget_ms: float, *, even: bool) -> list[str]:
    """Return in words where the generator was the limit, so that nothing is known of the system."""
    found = [
        f"{worker.name} used {worker.cpu_max_percent:.0f} % of its core: more workers, or a smaller load"
        for worker in record.workers
        if worker.cpu_max_percent > r.CPU_LIMIT
    ]
    if record.missing_workers:
        found.append(f"{record.missing_workers} of {record.expected_workers} workers went missing")
    for stage, held in judged:
        planned = stage.target_per_second * held.seconds
        slack = 0.0 if even else _SIGMAS * math.sqrt(planned)
        if held.offered < planned * OFFERED_SHARE - slack - 1:
            found.append(f"in {stage.name} only {held.offered:,} of {planned:,.0f} sends were offered")
    late, share = _late_share(judged)
    if share > LATE_SHARE and late > _LATE_LEAST:
        found.append(
            f"{100 * share:.1f} % of the sends were more than 100 ms late before they left: "
            "more workers, more cores, or a smaller load"
        )
    uncertain_ms = record.uncertainty_ns / _NS_MS
    if uncertain_ms > clock_budget_ms:
        found.append(f"the clocks are {uncertain_ms:.2f} ms uncertain; the budget is {clock_budget_ms:g} ms")
    return found


def _late_share(judged: _Judged) -> tuple[int, float]:
    """How many sends were late, and which share. Not where all connect again: sends wait for handshakes there."""
    calm = [held for stage, held in judged if stage.action is None]
    late, offered = sum(held.late for held in calm), sum(held.offered for held in calm)
    return late, late / offered if offered else 0.0
