"""What a run found out beside its figures: how soon people were back, whether memory grew, where a ramp broke."""

import math
import statistics
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from loadtest.gate.slo import Slo, number
from loadtest.report.result import Finding, Result, Sample, StageFigures
from loadtest.scenarios.plan import Action

BREAKING_POINT: Final = "breaking-point"
WHOLE: Final = 0.999
"""Of the people, those who must be there for everybody to be back; churn takes a few away at any time."""
FLUSHED: Final = 0.01
"""Of the most that was outstanding, what may be under way when a backlog counts as fetched."""
_CUTS: Final = {Action.KILL_NODE, Action.DRAIN_NODES, Action.COME_BACK}
_SLOPE_SAMPLES: Final = 5
_HOUR: Final = 3600
_SLOPE_SECONDS: Final = 600
"""Shorter, and an hour's slope would be made of noise."""

_DEVIATIONS: Final = 3
_NOUNS: Final = {"latency_ms": "latency", "messages_per_second": "throughput", "requests_per_second": "throughput"}
"""What a key of a stage is about, in a word."""


def findings_of(result: Result, slo: Slo) -> list[Finding]:
    """Return what the run had found already, and what its series shows."""
    found = {finding.name: finding for finding in result.findings}
    if result.plan.get("ramp") and BREAKING_POINT not in found:
        found[BREAKING_POINT] = breaking_point(result.stages, slo)
    for finding in (*_after_actions(result), *_memory(result)):
        found.setdefault(finding.name, finding)
    return list(found.values())


def _after_actions(result: Result) -> list[Finding]:
    found = []
    for stage, action in _acted(result):
        if action in _CUTS:
            found.append(_recovery(result, stage))
        if action is Action.COME_BACK:
            found.append(_flush(result, stage))
    return found


def _acted(result: Result) -> list[tuple[StageFigures, Action]]:
    """Return the stages that began with an action and were reached."""
    planned: list[dict[str, Any]] = result.plan.get("stages", [])
    actions = {stage["name"]: Action(stage["action"]) for stage in planned if stage.get("action")}
    return [(stage, actions[stage.name]) for stage in result.stages if stage.name in actions]


def _recovery(result: Result, stage: StageFigures) -> Finding:
    """From the action until everybody is connected and stays so."""
    after = [sample for sample in result.series if sample.at_s >= stage.began_s]
    least = result.users.asked * WHOLE
    gone = [sample.at_s for sample in after if sample.connected < least]
    if not after or (gone and gone[-1] == after[-1].at_s):
        return _finding("recovery", None, "s", "not everybody was back at the end")
    seconds = next(each.at_s for each in after if each.at_s > gone[-1]) - stage.began_s if gone else 0.0
    lowest = min(sample.connected for sample in after)
    return _finding("recovery", seconds, "s", f"everybody was back after {seconds:.0f} s; {lowest} were left at worst")


def _flush(result: Result, stage: StageFigures) -> Finding:
    """From the coming back until what had gathered was fetched, by the sums of what was sent and received."""
    each = result.messages.due / result.messages.sent if result.messages.sent else 0.0
    outstanding, most = 0.0, 0.0
    for sample, seconds in _rows(result.series):
        outstanding += (sample.sent_per_second * each - sample.received_per_second) * seconds
        if sample.at_s < stage.began_s:
            most = max(most, outstanding)
        elif outstanding <= most * FLUSHED + sample.sent_per_second * each:
            took = sample.at_s - stage.began_s
            return _finding("flush", took, "s", f"{most:.0f} messages that had gathered were fetched in {took:.0f} s")
    return _finding("flush", None, "s", f"of {most:.0f} messages that had gathered, {outstanding:.0f} were left")


def _rows(series: list[Sample]) -> list[tuple[Sample, float]]:
    """Return each sample with the seconds it stands for."""
    before = [0.0, *(sample.at_s for sample in series)]
    return [(sample, sample.at_s - since) for sample, since in zip(series, before, strict=False)]


def _memory(result: Result) -> list[Finding]:
    """The straight line through the relay's resident memory over the judged stages, where no node was started anew."""
    if any(action in {Action.KILL_NODE, Action.DRAIN_NODES} for _, action in _acted(result)):
        return []
    judged = {stage.name for stage in result.stages if stage.judged}
    points = [
        (sample.at_s, size) for sample in result.series if sample.stage in judged and (size := _relay_mib(sample))
    ]
    if len(points) < _SLOPE_SAMPLES:
        return []
    times, sizes = zip(*points, strict=True)
    slope = statistics.linear_regression(times, sizes).slope
    span, hourly = times[-1] - times[0], slope * _HOUR
    growth = slope * span
    found = [_finding("memory-growth", growth, "MiB", f"the relay's memory grew by {growth:.1f} MiB while judged")]
    if span >= _SLOPE_SECONDS:
        words = f"that is {hourly:.1f} MiB an hour, by the straight line through {span / 60:.0f} minutes"
        found.append(_finding("memory-slope", hourly, "MiB/h", words))
    return found


def _relay_mib(sample: Sample) -> float:
    """Return the memory of all relay nodes, 0 where nobody could ask."""
    return sum(value for key, value in sample.server.items() if key.startswith("relay") and key.endswith(".rss_mib"))


def _finding(name: str, value: float | None, unit: str, words: str) -> Finding:
    return Finding(name=name, value=value, unit=unit, words=words)


def breaks(stage: StageFigures, slo: Slo, asked: int | None = None) -> list[str]:
    """Return in words what of a stage broke; nothing when it holds. `asked` is how many users should be connected."""
    stage = _by_chance(stage)
    objectives = [bound.judge(stage) for bound in slo.ramp_stage]
    missed = [f"{_noun(each.key)} gives way ({each.words})" for each in objectives if not each.met]
    if asked is not None and stage.users < asked:
        missed.append(f"connections give way (only {number(stage.users)} of {number(asked)} are left)")
    return missed


def breaking_point(
    stages: Sequence[StageFigures], slo: Slo, asked: int | None = None, *, ended_by: Sequence[str] = ()
) -> Finding:
    """Name the highest rate that held before the first judged stage that broke, and what broke there.

    `ended_by` is what was seen to break in the last stage, and ended the run. The ledgers know more than was seen: an
    earlier stage, or a last one that seemed to hold, may turn out to have been too much.
    """
    judged = [stage for stage in stages if stage.judged]
    held: float | None = None
    for stage in judged:
        seen = ended_by if stage is judged[-1] else ()
        if missed := seen or breaks(stage, slo, asked):
            words = f"{_held(held)}; {_at(stage, missed)}"
            if not seen:
                words += ", as the ledgers showed afterwards"
                words += f"; the run went on, and ended {_at(judged[-1], ended_by)}" if ended_by else ""
            return _breaking_point(held or 0.0, words)
        held = stage.target_per_second
    if held is None:
        return _breaking_point(None, "no stage of the ramp came to its end")
    return _breaking_point(held, f"{_held(held)}, the highest rate tried: nothing broke")


def _held(rate: float | None) -> str:
    return "nothing held" if rate is None else f"{number(rate)} messages a second hold"


def _at(stage: StageFigures, missed: Sequence[str]) -> str:
    return f"at {number(stage.target_per_second)} {'; '.join(missed)}"


def _noun(key: str) -> str:
    return _NOUNS.get(key.partition(".")[0], key)


def _by_chance(stage: StageFigures) -> StageFigures:
    """Take the least that random arrivals make of a rate for its target: three deviations of their number less."""
    due = stage.target_per_second * stage.seconds
    least = max(0.0, due - _DEVIATIONS * math.sqrt(due)) / stage.seconds if stage.seconds else 0.0
    return msgspec.structs.replace(stage, target_per_second=least)


def _breaking_point(value: float | None, words: str) -> Finding:
    return _finding(BREAKING_POINT, value, "messages/s", words)
