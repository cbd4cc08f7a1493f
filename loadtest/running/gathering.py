"""The result of a run, put together from its record and the settled ledgers."""

import math
from collections.abc import Sequence
from datetime import UTC
from typing import Any, Final

import msgspec

from loadtest.crowd.crowd import Room
from loadtest.ledger.account import Account, reconcile
from loadtest.ledger.reports import LedgerError, Tick
from loadtest.report.result import (
    Generator,
    Latencies,
    Messages,
    Rate,
    Requests,
    Result,
    StageFigures,
    Users,
    Verdict,
)
from loadtest.running.record import Passage, Record
from loadtest.scenarios.plan import Kind, Plan, Stage

CPU_PERCENT: Final = 90.0
OFFERED_SHARE: Final = 0.98
LATE_SHARE: Final = 0.01
"""Of the sends of the judged stages, those that may be late: beyond, a 99th percentile is the generator's own."""
_LATE_LEAST: Final = 20
"""Late sends that one hiccup of a small run may make."""
_SIGMAS: Final = 4
"""Arrivals are random: so many square roots of their number may be missing without anybody's fault."""
_NS_MS: Final = 1e6
_HUNDRED: Final = 100
_SECOND_NS: Final = 1e9


def gather(
    plan: Plan,
    record: Record,
    rooms: Sequence[Room],
    *,
    title: str = "",
    clock_budget_ms: float = 1.0,
    even: bool = False,
    environment: dict[str, Any] | None = None,
) -> Result:
    """Return the result of a run, not judged yet."""
    settled, troubles = _settle(record, rooms)
    stages = [_stage(plan, passage, record.began_ns, settled) for passage in record.passages]
    judged = [(plan.stages[each.index], each) for each in record.passages if plan.stages[each.index].judged]
    bottlenecks = [*record.invalid, *troubles, *_bottlenecks(record, judged, clock_budget_ms, even=even)]
    indices = [passage.index for _, passage in judged]
    failed = bool(record.failure)
    return Result(
        verdict=Verdict.FAILED if failed else Verdict.INVALID if bottlenecks or record.interrupted else Verdict.MET,
        reasons=[record.failure] if failed else [],
        scenario=plan.scenario,
        title=title,
        started=record.started.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        seconds=round((record.ended_ns - record.began_ns) / _SECOND_NS, 1) if record.began_ns else 0.0,
        interrupted=record.interrupted,
        plan=msgspec.to_builtins(plan),
        users=_users(plan, record, settled),
        rate=_rate(plan, judged, settled),
        latency_ms=Latencies() if settled is None else settled.latencies_of(indices),
        messages=Messages() if settled is None else settled.messages,
        requests=Requests() if settled is None else Requests(done=settled.requests, failed=settled.failures),
        generator=_generator(record, judged, bottlenecks),
        endpoints=[] if settled is None else settled.endpoints_of(indices),
        stages=stages,
        series=record.series,
        close_codes={} if settled is None else _closes(settled),
        refusals={} if settled is None else settled.refusals,
        environment=environment or {},
    )


def figures_so_far(stage: Stage, passage: Passage, ticks: Tick, began_ns: int) -> StageFigures:
    """Return a stage that has just ended, from what the workers said each second; `gather` is more exact.

    Rates are those of the seconds that they have told of: one that is missing must not look like lost throughput.
    """
    seconds = max(passage.beats, 1)
    latencies = Latencies(
        send_to_ack=ticks.ack.latency(), send_to_receive=ticks.receive.latency(), request=ticks.request.latency()
    )
    return StageFigures(
        name=stage.name,
        began_s=(passage.began_ns - began_ns) / _SECOND_NS,
        seconds=seconds,
        judged=stage.judged,
        users=passage.connected,
        messages_per_second=ticks.acked / seconds,
        requests_per_second=ticks.requests / seconds,
        target_per_second=_target(stage),
        latency_ms=latencies,
    )


def _settle(record: Record, rooms: Sequence[Room]) -> tuple[Account | None, list[str]]:
    if not record.ledgers:
        return None, []
    try:
        return reconcile(record.ledgers, rooms), []
    except LedgerError as error:
        return None, [f"the ledgers do not fit: {error}"]


def _stage(plan: Plan, passage: Passage, began_ns: int, settled: Account | None) -> StageFigures:
    stage, seconds = plan.stages[passage.index], max(passage.seconds, 1e-9)
    booked = None if settled is None else settled.stages.get(passage.index)
    return StageFigures(
        name=stage.name,
        began_s=round((passage.began_ns - began_ns) / _SECOND_NS, 2),
        seconds=round(passage.seconds, 2),
        judged=stage.judged,
        users=passage.connected,
        messages_per_second=0.0 if booked is None else round(booked.acked_within / seconds, 2),
        requests_per_second=0.0 if booked is None else round(booked.requests_within / seconds, 2),
        target_per_second=_target(stage),
        latency_ms=Latencies() if settled is None else settled.latencies_of((passage.index,)),
    )


def _users(plan: Plan, record: Record, settled: Account | None) -> Users:
    judged = [passage for passage in record.passages if plan.stages[passage.index].judged]
    last = (judged or record.passages or [Passage(index=0, began_ns=0)])[-1]
    return Users(
        asked=max(stage.users for stage in plan.stages),
        connected=last.connected,
        peak=max(record.peak, last.connected),
        connects=0 if settled is None else settled.connects,
        reconnects=0 if settled is None else settled.reconnects,
        failed=0 if settled is None else settled.failed,
    )


def _rate(plan: Plan, judged: Sequence[tuple[Stage, Passage]], settled: Account | None) -> Rate:
    """What fell due is the target: with random arrivals it is the stage's rate in the mean only."""
    seconds = sum(passage.seconds for _, passage in judged)
    if settled is None or not seconds:
        return Rate(
            target_per_second=max((_target(stage) for stage in plan.stages if stage.judged), default=0.0),
            achieved_per_second=0.0,
        )
    booked = [settled.stages[passage.index] for _, passage in judged if passage.index in settled.stages]
    rest = plan.kind is Kind.REST
    return Rate(
        target_per_second=round(sum(passage.offered for _, passage in judged) / seconds, 2),
        achieved_per_second=round(
            sum(each.requests_within if rest else each.acked_within for each in booked) / seconds, 2
        ),
        deliveries_per_second=round(sum(each.received_within for each in booked) / seconds, 2),
    )


def _generator(record: Record, judged: Sequence[tuple[Stage, Passage]], bottlenecks: list[str]) -> Generator:
    return Generator(
        cpu_max_percent=max((worker.cpu_max_percent for worker in record.workers), default=0.0),
        workers=record.workers,
        expected_workers=record.expected_workers,
        missing_workers=record.missing_workers,
        clock_uncertainty_ms=round(record.uncertainty_ns / _NS_MS, 4),
        late_percent=round(_HUNDRED * _late_share(judged), 3),
        bottlenecks=bottlenecks,
    )


def _bottlenecks(
    record: Record, judged: Sequence[tuple[Stage, Passage]], clock_budget_ms: float, *, even: bool
) -> list[str]:
    """Return in words where the generator was the limit, so that nothing is known of the system."""
    found = [
        f"{worker.name} used {worker.cpu_max_percent:.0f} % of its core: more workers, or a smaller load"
        for worker in record.workers
        if worker.cpu_max_percent > CPU_PERCENT
    ]
    for stage, passage in judged:
        planned = _target(stage) * passage.seconds
        slack = 0.0 if even else _SIGMAS * math.sqrt(planned)
        if passage.offered < planned * OFFERED_SHARE - slack - 1:
            found.append(f"in {stage.name} only {passage.offered:,} of {planned:,.0f} sends were offered")
    share = _late_share(judged)
    if share > LATE_SHARE and sum(passage.late for passage in _calm(judged)) > _LATE_LEAST:
        found.append(
            f"{_HUNDRED * share:.1f} % of the sends were more than 100 ms late before they left: "
            "more workers, more cores, or a smaller load"
        )
    if record.uncertainty_ns / _NS_MS > clock_budget_ms:
        found.append(
            f"the clocks are {record.uncertainty_ns / _NS_MS:.2f} ms uncertain; the budget is {clock_budget_ms:g} ms"
        )
    return found


def _late_share(judged: Sequence[tuple[Stage, Passage]]) -> float:
    calm = _calm(judged)
    offered = sum(passage.offered for passage in calm)
    return sum(passage.late for passage in calm) / offered if offered else 0.0


def _calm(judged: Sequence[tuple[Stage, Passage]]) -> list[Passage]:
    """Those in which nothing befalls the system: where everybody connects again, sends wait for handshakes."""
    return [passage for stage, passage in judged if stage.action is None]


def _closes(settled: Account) -> dict[str, int]:
    """How connections ended, and how attempts did: one tally."""
    closes = dict(settled.close_codes)
    for why, count in settled.connect_faults.items():
        closes[why] = closes.get(why, 0) + count
    return closes


def _target(stage: Stage) -> float:
    return stage.messages_per_second or stage.requests_per_second
