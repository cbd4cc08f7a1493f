"""The series of a run as lines to be drawn: stages as bands, and as many points as an eye can tell apart."""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any, Final

from loadtest.report.page.axis import Axis, time_axis
from loadtest.report.page.figures import clock
from loadtest.report.page.plot import Band, Event, Line
from loadtest.report.result import Result, Sample

MOST_POINTS: Final = 480

Reading = Callable[[Sample], float | None]
Joining = Callable[[Iterable[float]], float]


class Seconds:
    """The samples of one result, with the axis that all charts of time share."""

    def __init__(self, result: Result) -> None:
        self.samples = result.series
        each = -(-len(self.samples) // MOST_POINTS) or 1
        self.bins = [self.samples[at : at + each] for at in range(0, len(self.samples), each)]
        ends = [stage.began_s + stage.seconds for stage in result.stages]
        self.axis: Axis = time_axis(max([result.seconds, *ends, *(sample.at_s for sample in self.samples[-1:])]))
        self.bands = [
            Band(stage.name, stage.began_s, stage.began_s + stage.seconds, stage.judged) for stage in result.stages
        ]
        self.events = list(_events(result))
        self.readings = [f"{clock(part[0].at_s)} · {part[0].stage}" for part in self.bins]

    def line(self, name: str, colour: int, read: Reading, unit: str = "", *, joined: Joining = fmean) -> Line:
        """Return one line of the series."""
        return Line(name, colour, [(part[0].at_s, _join(part, read, joined)) for part in self.bins], unit)

    def server(self, key: str, name: str, colour: int, unit: str) -> Line:
        """Return one line of what the watch sampled."""
        worst: Joining = max if unit == "ms" else fmean
        return self.line(name, colour, lambda sample: sample.server.get(key), unit, joined=worst)


def values_of(lines: Sequence[Line]) -> list[float]:
    """Return every value of some lines, for the axis beside them."""
    return [value for line in lines for _, value in line.points if value is not None]


def _join(part: Sequence[Sample], read: Reading, joined: Joining) -> float | None:
    known = [value for sample in part if (value := read(sample)) is not None]
    return joined(known) if known else None


def _events(result: Result) -> Iterable[Event]:
    """The plan is as free as JSON is, so nothing is taken for granted; stages of both go in the same order."""
    planned: Any = result.plan.get("stages")
    for stage, plan in zip(result.stages, planned if isinstance(planned, list | tuple) else [], strict=False):
        if isinstance(plan, dict) and plan.get("action"):
            yield Event(str(plan["action"]), stage.began_s)
