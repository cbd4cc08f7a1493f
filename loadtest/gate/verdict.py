"""The verdict on a run, INVALID before MISSED before MET, and what it found out beside its figures."""

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from loadtest.exits import Verdict
from loadtest.gate.slo import Slo
from loadtest.report.formatting import figure
from loadtest.report.result import CPU_LIMIT, Finding, Result, StageFigures
from loadtest.scenarios.plan import SYSTEM_ACTIONS, Action

BREAKING_POINT: Final = "breaking-point"
WHOLE: Final = 0.999
"""Of the users, those who must be there for everybody to be back; churn takes a few away at any time."""
FLUSHED: Final = 0.01  # of the most that was outstanding, what may be under way when a backlog counts as fetched
_LEAST_SAMPLES: Final = 5
_SLOPE_SECONDS: Final = 600  # shorter, and an hour's slope would be made of noise
_DEVIATIONS: Final = 3
_NOUNS: Final = {"latency_ms": "latency", "messages_per_second": "throughput", "requests_per_second": "throughput"}


def judge(result: Result, slo: Slo) -> Result:
    """Return the judged result; one that FAILED stays FAILED. Raises SloError for a scenario without a table."""
    bounds = slo.bounds_of(result.scenario)
    result = msgspec.structs.replace(result, findings=findings_of(result, slo))
    objectives = [bound.judge(result) for bound in bounds]
    verdict, reasons = result.verdict, result.reasons
    if verdict is not Verdict.FAILED:
        verdict, reasons = Verdict.INVALID, _invalid(result)
        if not reasons:
            reasons = [objective.words for objective in objectives if not objective.met]
            verdict = Verdict.MISSED if reasons else Verdict.MET
    return msgspec.structs.replace(result, objectives=objectives, verdict=verdict, reasons=reasons)


def _invalid(result: Result) -> list[str]:
    """Return why nothing was learned. What the run itself put into `reasons` and `bottlenecks` is kept."""
    generator = result.generator
    said = list(result.reasons) if result.verdict is Verdict.INVALID else []
    said += ["interrupted"] * result.interrupted + generator.bottlenecks
    # Where nobody has named a bottleneck, the figures alone may make a run invalid.
    if not generator.bottlenecks and generator.missing_workers:
        said.append(f"{generator.missing_workers} of {generator.expected_workers} workers went missing")
    if not generator.bottlenecks and generator.cpu_max_percent > CPU_LIMIT:
        said.append(f"a worker of the generator used {generator.cpu_max_percent:.0f} % of a core")
    return list(dict.fromkeys(said))


def findings_of(result: Result, slo: Slo) -> list[Finding]:
    """Return what the run had found already, and what its series shows."""
    found = {finding.name: finding for finding in result.findings}
    if result.plan.get("ramp") and BREAKING_POINT not in found:
        found[BREAKING_POINT] = breaking_point(result.stages, slo)
    planned: list[dict[str, Any]] = result.plan.get("stages", [])
    actions = {stage["name"]: Action(stage["action"]) for stage in planned if stage.get("action")}
    reached = [(stage, actions[stage.name]) for stage in result.stages if stage.name in actions]
    for stage, action in reached:
        if action in {*SYSTEM_ACTIONS, Action.COME_BACK}:
            found.setdefault("recovery", _recovery(result, stage))
        if action is Action.COME_BACK:
            found.setdefault("flush", _flush(result, stage))
    if not any(action in SYSTEM_ACTIONS for _, action in reached):
        for finding in _memory(result):
            found.setdefault(finding.name, finding)
    return list(found.values())


def _recovery(result: Result, stage: StageFigures) -> Finding:
    """From the action until everybody is connected and stays so."""
    after = [sample for sample in result.series if sample.at_s >= stage.began_s]
    least = result.users.asked * WHOLE
    gone = [sample.at_s for sample in after if sample.connected < least]
    if not after or (gone and gone[-1] == after[-1].at_s):
        return Finding(name="recovery", value=None, unit="s", words="not everybody was back at the end")
    seconds = next(each.at_s for each in after if each.at_s > gone[-1]) - stage.began_s if gone else 0.0
    lowest = min(sample.connected for sample in after)
    words = f"everybody was back after {seconds:.0f} s; {lowest} were left at worst"
    return Finding(name="recovery", value=seconds, unit="s", words=words)


def _flush(result: Result, stage: StageFigures) -> Finding:
    """From the coming back until what had gathered was fetched, by the sums of what was sent and received."""
    each = result.messages.due / result.messages.sent if result.messages.sent else 0.0
    outstanding, most, since = 0.0, 0.0, 0.0
    for sample in result.series:
        outstanding += (sample.sent_per_second * each - sample.received_per_second) * (sample.at_s - since)
        since = sample.at_s
        if sample.at_s < stage.began_s:
            most = max(most, outstanding)
        elif outstanding <= most * FLUSHED + sample.sent_per_second * each:
            took = sample.at_s - stage.began_s
            words = f"{most:.0f} messages that had gathered were fetched in {took:.0f} s"
            return Finding(name="flush", value=took, unit="s", words=words)
    words = f"of {most:.0f} messages that had gathered, {outstanding:.0f} were left"
    return Finding(name="flush", value=None, unit="s", words=words)


def _memory(result: Result) -> Iterator[Finding]:
    """The straight line through the relay's resident memory over the judged stages."""
    points = []
    for sample in result.judged_series:
        nodes = [mib for key, mib in sample.server.items() if key.startswith("relay") and key.endswith(".rss_mib")]
        if nodes:
            points.append((sample.at_s, sum(nodes)))
    if len(points) < _LEAST_SAMPLES:
        return
    times, sizes = zip(*points, strict=True)
    slope, span = statistics.linear_regression(times, sizes).slope, times[-1] - times[0]
    words = f"the relay's memory grew by {slope * span:.1f} MiB while judged"
    yield Finding(name="memory-growth", value=slope * span, unit="MiB", words=words)
    if span >= _SLOPE_SECONDS:
        words = f"that is {slope * 3600:.1f} MiB an hour, by the straight line through {span / 60:.0f} minutes"
        yield Finding(name="memory-slope", value=slope * 3600, unit="MiB/h", words=words)


def breaks(stage: StageFigures, slo: Slo, asked: int | None = None) -> list[str]:
    """Return in words what of a stage broke; nothing when it holds. `asked` is how many users should be connected."""
    # The least that random arrivals make of a rate is its target: three deviations of their number less.
    due = stage.target_per_second * stage.seconds
    least = max(0.0, due - _DEVIATIONS * math.sqrt(due)) / stage.seconds if stage.seconds else 0.0
    by_chance = msgspec.structs.replace(stage, target_per_second=least)
    objectives = [bound.judge(by_chance) for bound in slo.ramp_stage]
    nouns = [_NOUNS.get(each.key.partition(".")[0], each.key) for each in objectives]
    pairs = zip(nouns, objectives, strict=True)
    missed = [f"{noun} gives way ({each.words})" for noun, each in pairs if not each.met]
    if asked is not None and stage.users < asked:
        missed.append(f"connections give way (only {figure(stage.users)} of {figure(asked)} are left)")
    return missed


def breaking_point(
    stages: Sequence[StageFigures], slo: Slo, asked: int | None = None, *, ended_by: Sequence[str] = ()
) -> Finding:
    """Name the highest rate that held before the first judged stage that broke, and what broke there.

    `ended_by` is what was seen to break in the last stage, and ended the run. The ledgers know more than was seen: an
    earlier stage, or a last one that seemed to hold, may turn out to have been too much.
    """
    judged = [stage for stage in stages if stage.judged]
    value, held, words = None, "nothing held", "no stage of the ramp came to its end"
    for stage in judged:
        seen = ended_by if stage is judged[-1] else ()
        if missed := seen or breaks(stage, slo, asked):
            value, words = value or 0.0, f"{held}; {_at(stage, missed)}"
            if not seen:
                words += ", as the ledgers showed afterwards"
                words += f"; the run went on, and ended {_at(judged[-1], ended_by)}" if ended_by else ""
            break
        value, held = stage.target_per_second, f"{figure(stage.target_per_second)} messages a second hold"
        words = f"{held}, the highest rate tried: nothing broke"
    return Finding(name=BREAKING_POINT, value=value, unit="messages/s", words=words)


def _at(stage: StageFigures, missed: Sequence[str]) -> str:
    return f"at {figure(stage.target_per_second)} {'; '.join(missed)}"
