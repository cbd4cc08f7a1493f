"""When a stage of a ramp is broken, and where the breaking point lies."""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from loadtest.gate.bound import number
from loadtest.gate.slo import Slo
from loadtest.report.result import Finding, StageFigures

BREAKING_POINT: Final = "breaking-point"
_DEVIATIONS: Final = 3
_NOUNS: Final = {"latency_ms": "latency", "messages_per_second": "throughput", "requests_per_second": "throughput"}
"""What a key of a stage is about, in a word."""


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

    `ended_by` is what was seen to break in the last stage, and ended the run. The books know more than was seen: an
    earlier stage, or a last one that seemed to hold, may turn out to have been too much.
    """
    judged = [stage for stage in stages if stage.judged]
    held: float | None = None
    for stage in judged:
        seen = ended_by if stage is judged[-1] else ()
        if missed := seen or breaks(stage, slo, asked):
            words = f"{_held(held)}; {_at(stage, missed)}"
            if not seen:
                words += ", as the books showed afterwards"
                words += f"; the run went on, and ended {_at(judged[-1], ended_by)}" if ended_by else ""
            return _finding(held or 0.0, words)
        held = stage.target_per_second
    if held is None:
        return _finding(None, "no stage of the ramp came to its end")
    return _finding(held, f"{_held(held)}, the highest rate tried: nothing broke")


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


def _finding(value: float | None, words: str) -> Finding:
    return Finding(name=BREAKING_POINT, value=value, unit="messages/s", words=words)
