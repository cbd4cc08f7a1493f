"""Two runs beside each other: what changed, and whether by more than noise.

A change is told as worse or better only when it is larger than the tolerance and the two intervals of noise do not
touch. Faults such as lost messages have no noise: one more is worse.
"""

import enum
import math
from collections.abc import Callable, Iterator
from statistics import fmean, median, stdev
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from loadtest.report.distribution import Distribution, read_distribution
from loadtest.report.formatting import KINDS, PERCENTILES
from loadtest.report.result import Latency, Result, Sample, Verdict

FAULTS: Final = ("lost", "duplicated", "disordered", "undecryptable", "astray")
COUNTS: Final = ("messages.refused", "messages.unacked", "messages.after_gap", "messages.resent", "users.failed")
RATE_TOLERANCE: Final = 0.02
"""An open model offers the same rate each time, so that a few percent less done is a change."""
SERVER: Final = ("cpu_percent", "rss_mib", "lateness_ms")
_LEAST_COUNT: Final = 20
"""Measurements beyond a percentile, below which it is not compared: it would be a matter of single messages."""
_UNLIKE: Final = 0.01
DEVIATIONS: Final = 3.0
"""To either side. A comparison looks at dozens of figures, and with two deviations one of them would cry wolf."""
_BATCHES: Final = 10
"""Seconds next to each other are alike; the means of ten long stretches are independent enough."""

_Measured: TypeAlias = tuple[float, tuple[float, float]]


class Change(enum.StrEnum):
    """What became of one figure."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"  # no more than noise, or than what is tolerated


class Row(Struct, frozen=True, kw_only=True):
    """One figure of both runs, each with the interval of its noise."""

    key: str
    before: float
    after: float
    noise_before: tuple[float, float]
    noise_after: tuple[float, float]
    change: Change

    @property
    def ratio(self) -> float | None:
        """By what share it grew; None from nothing."""
        return (self.after - self.before) / self.before if self.before else None


class Comparison(Struct, frozen=True, kw_only=True):
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
    return Comparison(
        rows=[
            *_latencies(before, after, tolerance),
            *_rates(before, after),
            *_faults(before, after),
            *_counts(before, after, tolerance),
            *_endpoints(before, after, tolerance),
            *_servers(before, after, tolerance),
        ],
        obstacles=list(_obstacles(before, after)),
        environment=list(_differences(_flat(before.environment), _flat(after.environment))),
    )


def _obstacles(before: Result, after: Result) -> Iterator[str]:
    for name, result in (("the first", before), ("the second", after)):
        if result.verdict in {Verdict.INVALID, Verdict.FAILED}:
            why = f": {'; '.join(result.reasons)}" if result.reasons else ""
            yield f"{name} run is {result.verdict.value}{why}"
    for words, key in (
        ("scenario", "scenario"),
        ("number of users", "users.asked"),
        ("target rate", "rate.target_per_second"),
    ):
        first, second = _find(before, key), _find(after, key)
        if first != second:
            yield f"the {words} differs: {first} and {second}"
    first, second = _judged_seconds(before), _judged_seconds(after)
    if first and second and abs(first - second) > _UNLIKE * max(first, second):
        yield f"the judged stages differ: {first:g} s and {second:g} s"


def _judged_seconds(result: Result) -> float:
    return sum(stage.seconds for stage in result.stages if stage.judged)


def _latencies(before: Result, after: Result, tolerance: float) -> Iterator[Row]:
    for kind in KINDS:
        first, second = (getattr(result.latency_ms, kind) for result in (before, after))
        yield from _percentiles(f"latency_ms.{kind}", (before, first), (after, second), tolerance)


def _percentiles(
    key: str, before: tuple[Result, Latency], after: tuple[Result, Latency], tolerance: float
) -> Iterator[Row]:
    first, second = read_distribution(before[1]), read_distribution(after[1])
    if first is None or second is None:
        return
    for name, percentile in PERCENTILES.items():
        # Beyond the largest value there is none, so that `max` is never compared.
        if min(first.count, second.count) * (1 - percentile / 100) >= _LEAST_COUNT:
            measured = (_percentile(before[0], first, percentile), _percentile(after[0], second, percentile))
            yield _row(f"{key}.{name}", *measured, tolerance)


def _percentile(result: Result, distribution: Distribution, percentile: float) -> _Measured:
    """Both kinds of noise, whichever is wider to either side."""
    value, unsteady = distribution.at(percentile), unsteadiness_of(result, percentile)
    low, high = distribution.interval(percentile, DEVIATIONS)
    return value, (min(low, value / (1 + unsteady)), max(high, value * (1 + unsteady)))


def _rates(before: Result, after: Result) -> Iterator[Row]:
    """More is better here, and there is no noise to speak of: an open model offers what it was told to."""
    for key in ("users.connected", "rate.achieved_per_second", "rate.deliveries_per_second"):
        first, second = float(_find(before, key)), float(_find(after, key))
        if first or second:
            yield _row(key, (first, (first, first)), (second, (second, second)), RATE_TOLERANCE, more=Change.BETTER)


def _faults(before: Result, after: Result) -> Iterator[Row]:
    for name in FAULTS:
        first, second = (float(getattr(result.messages, name)) for result in (before, after))
        yield _row(f"messages.{name}", (first, (first, first)), (second, (second, second)), 0.0)


def _counts(before: Result, after: Result, tolerance: float) -> Iterator[Row]:
    for key in COUNTS:
        first, second = float(_find(before, key)), float(_find(after, key))
        if first or second:
            yield _row(key, (first, poisson(first)), (second, poisson(second)), tolerance)


def _endpoints(before: Result, after: Result, tolerance: float) -> Iterator[Row]:
    later = {endpoint.name: endpoint for endpoint in after.endpoints}
    for endpoint in before.endpoints:
        if endpoint.name in later:
            other, name = later[endpoint.name], f"endpoints.{endpoint.name}"
            yield from _percentiles(name, (before, endpoint.latency_ms), (after, other.latency_ms), tolerance)
            first, second = (float(sum(each.failures.values())) for each in (endpoint, other))
            if first or second:
                yield _row(f"{name}.failures", (first, poisson(first)), (second, poisson(second)), tolerance)


def _servers(before: Result, after: Result, tolerance: float) -> Iterator[Row]:
    """The means over the judged stages. A process that only one run had is part of the environment."""
    keys = sorted({key for sample in before.series for key in sample.server if key.rpartition(".")[2] in SERVER})
    for key in keys:
        first, second = mean_of(before, key), mean_of(after, key)
        if first is not None and second is not None:
            yield _row(f"server.{key}", first, second, tolerance)


def _row(key: str, before: _Measured, after: _Measured, tolerance: float, *, more: Change = Change.WORSE) -> Row:
    (first, noise), (second, other) = before, after
    change = Change.SAME
    if second - first > tolerance * first and other[0] > noise[1]:
        change = more
    elif first - second > tolerance * first and other[1] < noise[0]:
        change = Change.WORSE if more is Change.BETTER else Change.BETTER
    return Row(key=key, before=first, after=second, noise_before=noise, noise_after=other, change=change)


def _find(result: Result, path: str) -> Any:
    value: Any = result
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _differences(before: dict[str, str], after: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """A run without a fingerprint, as one that failed early, is not another machine."""
    if not before or not after:
        return
    for key in sorted(before.keys() | after.keys()):
        first, second = before.get(key, "nothing"), after.get(key, "nothing")
        if first != second:
            yield key, first, second


def _flat(values: dict[str, Any], path: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{path}{name}.")
        else:
            found[f"{path}{name}"] = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return found


def poisson(count: float) -> tuple[float, float]:
    """Return the interval of a count of events that come one by one."""
    about = DEVIATIONS * math.sqrt(max(1.0, count))
    return max(0.0, count - about), count + about


def mean_of(result: Result, key: str) -> tuple[float, tuple[float, float]] | None:
    """Return the mean of a server's series over the judged stages and its interval, by the method of batch means."""
    values = [sample.server[key] for sample in _judged(result) if key in sample.server]
    if not values:
        return None
    mean = fmean(values)
    if len(values) < 2 * _BATCHES:
        return mean, (min(values), max(values))
    about = _error_of(_batches(values, fmean))
    return mean, (mean - about, mean + about)


def unsteadiness_of(result: Result, percentile: float) -> float:
    """Return the share by which latency differs from one stretch of a run to the next, as the error of their mean.

    Messages of one second share its fate, so that the order statistics of all of them promise too much. The median of
    each stretch's seconds is taken, which a single stall does not move. 0 for a run too short to tell.
    """
    seconds = [sample.p99_ms if percentile > PERCENTILES["p50"] else sample.p50_ms for sample in _judged(result)]
    values = [value for value in seconds if value is not None]
    if len(values) < 2 * _BATCHES:
        return 0.0
    batches = _batches(values, median)
    return _error_of(batches) / max(fmean(batches), 1e-9)


def _batches(values: list[float], middle: Callable[[list[float]], float]) -> list[float]:
    size = len(values) // _BATCHES
    return [middle(values[at * size : (at + 1) * size]) for at in range(_BATCHES)]


def _error_of(batches: list[float]) -> float:
    return DEVIATIONS * stdev(batches) / math.sqrt(_BATCHES)


def _judged(result: Result) -> list[Sample]:
    return [sample for sample in result.series if _is_judged(result, sample.at_s)]


def _is_judged(result: Result, at_s: float) -> bool:
    return any(stage.judged and stage.began_s <= at_s < stage.began_s + stage.seconds for stage in result.stages)
