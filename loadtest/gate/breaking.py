"""When a stage of a ramp is broken, and where the breaking point lies. Refuses to run the ramp."""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from loadtest.gate.bound import number
from loadtest.gate.slo import Slo
from loadtest.report.result import Finding, StageFigures

BREAKING_POINT: Final = "breaking-point"
_DEVIATIONS: Final = 3


def breaks(stage: StageFigures, slo: Slo, asked: int | None = None) -> list[str]:
    """Return in words what of a stage broke; nothing when it holds. `asked` is how many users should be connected."""
    stage = _by_chance(stage)
    missed = [objective.words for bound in slo.ramp_stage if not (objective := bound.judge(stage)).met]
    if asked is not None and stage.users < asked:
        missed.append(f"only {number(stage.users)} of {number(asked)} connections are left")
    return missed


def breaking_point(stages: Sequence[StageFigures], slo: Slo, asked: int | None = None) -> Finding:
    """Name the highest rate that held before the first judged stage that broke, and what broke there."""
    held: float | None = None
    for stage in stages:
        if not stage.judged:
            continue
        if missed := breaks(stage, slo, asked):
            said = "nothing held" if held is None else f"{number(held)} messages a second hold"
            return _finding(held or 0.0, f"{said}; at {number(stage.target_per_second)}: {'; '.join(missed)}")
        held = stage.target_per_second
    if held is None:
        return _finding(None, "no stage of the ramp came to its end")
    return _finding(held, f"{number(held)} messages a second hold, the highest rate tried: nothing broke")


def _by_chance(stage: StageFigures) -> StageFigures:
    """Take the least that random arrivals make of a rate for its target: three deviations of their number less."""
    due = stage.target_per_second * stage.seconds
    least = max(0.0, due - _DEVIATIONS * math.sqrt(due)) / stage.seconds if stage.seconds else 0.0
    return msgspec.structs.replace(stage, target_per_second=least)


def _finding(value: float | None, words: str) -> Finding:
    return Finding(name=BREAKING_POINT, value=value, unit="messages/s", words=words)
