"""Two runs beside each other: what changed, and whether by more than noise.

A change is worse or better only when it is larger than the tolerance and the two intervals of noise do not touch.
Faults such as lost messages have no noise: one more is worse.
"""

import enum
import math
from collections.abc import Callable, Iterator
from operator import attrgetter
from statistics import fmean, median, stdev
from typing import Final

from msgspec import Struct

from loadtest.report.distribution import read_distribution
from loadtest.report.formatting import KINDS, PERCENTILES, flat
from loadtest.report.result import Latency, Result, Sample, Verdict

DEVIATIONS: Final = 3.0
"""To either side. A comparison looks at dozens of figures; with two deviations one of them would be a false alarm."""
_RATES: Final = ("users.connected", "rate.achieved_per_second", "rate.deliveries_per_second")
_RATE_TOLERANCE: Final = 0.02
"""An open model offers the same rate each time, so that a few percent less done is a change."""
_FAULTS: Final = ("lost", "duplicated", "disordered", "undecryptable", "astray")
_COUNTS: Final = ("messages.refused", "messages.unacked", "messages.after_gap", "messages.resent", "users.failed")
_SERVER: Final = ("cpu_percent", "rss_mib", "lateness_ms")
_ALIKE: Final = {"scenario": "scenario", "number of users": "users.asked", "target rate": "rate.target_per_second"}
_LEAST_COUNT: Final = 20
"""Measurements beyond a percentile, below which it is not compared: it would be a matter of single messages."""
_UNLIKE: Final = 0.01
_BATCHES: Final = 10  # seconds next to each other are alike; the means of ten long stretches are independent enough


class Change(enum.StrEnum):
    """What became of one figure."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"  # no more than noise, or than what is tolerated


class Figure(Struct, frozen=True):
    """A figure of one run and the interval of its noise. Without a tolerance of its own it has the comparison's."""

    value: float
    noise: tuple[float, float]
    tolerance: float | None = None
    more_is_better: bool = False


class Row(Struct, frozen=True):
    """One figure of both runs."""

    key: str
    before: Figure
    after: Figure
    change: Change

    @property
    def ratio(self) -> float | None:
        """By what share it grew; None from nothing."""
        return (self.after.value - self.before.value) / self.before.value if self.before.value else None


class Comparison(Struct, frozen=True):
    """`obstacles` say why the runs cannot be compared; `environment` is what differs: key, before, after."""

    rows: list[Row]
    obstacles: list[str]
    environment: list[tuple[str, str, str]]

    @property
    def regressed(self) -> bool:
        """Whether anything is worse."""
        return any(row.change is Change.WORSE for row in self.rows)


def compare_results(before: Result, after: Result, *, tolerance: float = 0.1) -> Comparison:
    """Compare two runs; `tolerance` is the share by which a figure may grow. Raises DistributionError."""
    first, second = dict(figures_of(before)), dict(figures_of(after))
    rows = [
        Row(key, figure, second[key], _change(figure, second[key], tolerance))
        for key, figure in first.items()
        if key in second
    ]
    # Of what is 0 in both only faults are said: that there were none.
    told = [row for row in rows if row.before.value or row.after.value or row.before.tolerance == 0.0]
    return Comparison(told, list(_obstacles(before, after)), list(_differences(before, after)))


def _change(before: Figure, after: Figure, tolerance: float) -> Change:
    allowed = (tolerance if before.tolerance is None else before.tolerance) * before.value
    grew = after.value - before.value > allowed and after.noise[0] > before.noise[1]
    fell = before.value - after.value > allowed and after.noise[1] < before.noise[0]
    if not (grew or fell):
        return Change.SAME
    return Change.BETTER if grew is before.more_is_better else Change.WORSE


def figures_of(result: Result) -> Iterator[tuple[str, Figure]]:
    """Return what of a run is compared, by its key. Raises DistributionError."""
    for kind in KINDS:
        yield from _percentiles(result, f"latency_ms.{kind}", getattr(result.latency_ms, kind))
    for key in _RATES:
        # No noise to speak of: an open model offers what it was told to.
        value = float(attrgetter(key)(result))
        yield key, Figure(value, (value, value), _RATE_TOLERANCE, more_is_better=True)
    for name in _FAULTS:
        value = float(getattr(result.messages, name))
        yield f"messages.{name}", Figure(value, (value, value), 0.0)
    for key in _COUNTS:
        yield key, count_of(attrgetter(key)(result))
    for endpoint in result.endpoints:
        yield from _percentiles(result, f"endpoints.{endpoint.name}", endpoint.latency_ms)
        yield f"endpoints.{endpoint.name}.failures", count_of(sum(endpoint.failures.values()))
    for key in sorted({key for sample in result.series for key in sample.server}):
        if key.rpartition(".")[2] in _SERVER and (mean := mean_of(result, key)) is not None:
            yield f"server.{key}", mean


def _percentiles(result: Result, key: str, latency: Latency) -> Iterator[tuple[str, Figure]]:
    """With both kinds of noise, whichever is wider to either side."""
    distribution = read_distribution(latency)
    for name, percentile in PERCENTILES.items():
        if distribution is not None and distribution.count * (1 - percentile / 100) >= _LEAST_COUNT:
            value, unsteady = distribution.at(percentile), _unsteadiness(result, percentile)
            low, high = distribution.interval(percentile, DEVIATIONS)
            yield f"{key}.{name}", Figure(value, (min(low, value / (1 + unsteady)), max(high, value * (1 + unsteady))))


def count_of(count: float) -> Figure:
    """Return a count of events that come one by one, with the noise of Poisson's distribution."""
    about = DEVIATIONS * math.sqrt(max(1.0, count))
    return Figure(float(count), (max(0.0, count - about), count + about))


def mean_of(result: Result, key: str) -> Figure | None:
    """Return the mean of a server's series over the judged stages and its noise, by the method of batch means."""
    values = [sample.server[key] for sample in _judged(result) if key in sample.server]
    if not values:
        return None
    if len(values) < 2 * _BATCHES:
        return Figure(fmean(values), (min(values), max(values)))
    about = _error(_batches(values, fmean))
    return Figure(fmean(values), (fmean(values) - about, fmean(values) + about))


def _unsteadiness(result: Result, percentile: float) -> float:
    """Return the share by which latency differs from one stretch of a run to the next, as the error of their mean.

    Messages of one second share its fate, so that the order statistics of all of them promise too much. The median of
    each stretch's seconds is taken, which a single stall does not move. 0 for a run too short to tell.
    """
    seconds = [sample.p99_ms if percentile > PERCENTILES["p50"] else sample.p50_ms for sample in _judged(result)]
    values = [value for value in seconds if value is not None]
    if len(values) < 2 * _BATCHES:
        return 0.0
    batches = _batches(values, median)
    return _error(batches) / max(fmean(batches), 1e-9)


def _batches(values: list[float], middle: Callable[[list[float]], float]) -> list[float]:
    size = len(values) // _BATCHES
    return [middle(values[at * size : (at + 1) * size]) for at in range(_BATCHES)]


def _error(batches: list[float]) -> float:
    return DEVIATIONS * stdev(batches) / math.sqrt(_BATCHES)


def _judged(result: Result) -> list[Sample]:
    spans = [(stage.began_s, stage.began_s + stage.seconds) for stage in result.stages if stage.judged]
    return [sample for sample in result.series if any(began <= sample.at_s < until for began, until in spans)]


def _obstacles(before: Result, after: Result) -> Iterator[str]:
    for name, result in (("the first", before), ("the second", after)):
        if result.verdict in {Verdict.INVALID, Verdict.FAILED}:
            why = f": {'; '.join(result.reasons)}" if result.reasons else ""
            yield f"{name} run is {result.verdict.value}{why}"
    for words, key in _ALIKE.items():
        first, second = attrgetter(key)(before), attrgetter(key)(after)
        if first != second:
            yield f"the {words} differs: {first} and {second}"
    judged = [sum(stage.seconds for stage in result.stages if stage.judged) for result in (before, after)]
    if min(judged) and max(judged) - min(judged) > _UNLIKE * max(judged):
        yield f"the judged stages differ: {judged[0]:g} s and {judged[1]:g} s"


def _differences(before: Result, after: Result) -> Iterator[tuple[str, str, str]]:
    """A run without a fingerprint, as one that failed early, is not another machine."""
    first, second = dict(flat(before.environment)), dict(flat(after.environment))
    if first and second:
        for key in sorted(first.keys() | second.keys()):
            if first.get(key) != second.get(key):
                yield key, first.get(key, "nothing"), second.get(key, "nothing")
