"""Two runs beside each other: what changed, and whether by more than noise.

A change is told as worse or better only when it is larger than the tolerance and the two intervals of noise do not
touch. Faults such as lost messages have no noise: one more is worse.
"""

import enum
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from loadtest.report.distribution import Distribution, read_distribution
from loadtest.report.noise import DEVIATIONS, mean_of, poisson, unsteadiness_of
from loadtest.report.result import Latency, Result, Verdict

PERCENTILES: Final = (("p50", 50.0), ("p95", 95.0), ("p99", 99.0), ("p999", 99.9))
KINDS: Final = ("send_to_receive", "send_to_ack", "request", "connect", "backlog")
FAULTS: Final = ("lost", "duplicated", "disordered", "undecryptable", "astray")
COUNTS: Final = ("messages.refused", "messages.unacked", "messages.after_gap", "messages.resent", "users.failed")
RATE_TOLERANCE: Final = 0.02
"""An open model offers the same rate each time, so that a few percent less done is a change."""
SERVER: Final = ("cpu_percent", "rss_mib", "lateness_ms")
_LEAST_COUNT: Final = 20
"""Measurements beyond a percentile, below which it is not compared: it would be a matter of single messages."""
_UNLIKE: Final = 0.01


_Measured: TypeAlias = tuple[float, tuple[float, float]]


class Change(enum.StrEnum):
    """What became of one figure."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"  # no more than noise, or than what is tolerated


class Line(Struct, frozen=True, kw_only=True):
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

    lines: list[Line]
    obstacles: list[str]
    environment: list[tuple[str, str, str]]

    @property
    def regressed(self) -> bool:
        """Whether anything is worse."""
        return any(line.change is Change.WORSE for line in self.lines)


def compare_results(before: Result, after: Result, *, tolerance: float = 0.1) -> Comparison:
    """Compare two runs; `tolerance` is the share by which a figure may grow. Raises DistributionError."""
    return Comparison(
        lines=[
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


def _latencies(before: Result, after: Result, tolerance: float) -> Iterator[Line]:
    for kind in KINDS:
        first, second = (getattr(result.latency_ms, kind) for result in (before, after))
        yield from _percentiles(f"latency_ms.{kind}", (before, first), (after, second), tolerance)


def _percentiles(
    key: str, before: tuple[Result, Latency], after: tuple[Result, Latency], tolerance: float
) -> Iterator[Line]:
    first, second = read_distribution(before[1]), read_distribution(after[1])
    if first is None or second is None:
        return
    for name, percentile in PERCENTILES:
        if min(first.count, second.count) * (1 - percentile / 100) >= _LEAST_COUNT:
            measured = (_percentile(before[0], first, percentile), _percentile(after[0], second, percentile))
            yield _line(f"{key}.{name}", *measured, tolerance)


def _percentile(result: Result, distribution: Distribution, percentile: float) -> _Measured:
    """Both kinds of noise, whichever is wider to either side."""
    value, unsteady = distribution.at(percentile), unsteadiness_of(result, percentile)
    low, high = distribution.interval(percentile, DEVIATIONS)
    return value, (min(low, value / (1 + unsteady)), max(high, value * (1 + unsteady)))


def _rates(before: Result, after: Result) -> Iterator[Line]:
    """More is better here, and there is no noise to speak of: an open model offers what it was told to."""
    for key in ("users.connected", "rate.achieved_per_second", "rate.deliveries_per_second"):
        first, second = float(_find(before, key)), float(_find(after, key))
        if first or second:
            yield _line(key, (first, (first, first)), (second, (second, second)), RATE_TOLERANCE, more=Change.BETTER)


def _faults(before: Result, after: Result) -> Iterator[Line]:
    for name in FAULTS:
        first, second = (float(getattr(result.messages, name)) for result in (before, after))
        yield _line(f"messages.{name}", (first, (first, first)), (second, (second, second)), 0.0)


def _counts(before: Result, after: Result, tolerance: float) -> Iterator[Line]:
    for key in COUNTS:
        first, second = float(_find(before, key)), float(_find(after, key))
        if first or second:
            yield _line(key, (first, poisson(first)), (second, poisson(second)), tolerance)


def _endpoints(before: Result, after: Result, tolerance: float) -> Iterator[Line]:
    later = {endpoint.name: endpoint for endpoint in after.endpoints}
    for endpoint in before.endpoints:
        if endpoint.name in later:
            other, name = later[endpoint.name], f"endpoints.{endpoint.name}"
            yield from _percentiles(name, (before, endpoint.latency_ms), (after, other.latency_ms), tolerance)
            first, second = (float(sum(each.failures.values())) for each in (endpoint, other))
            if first or second:
                yield _line(f"{name}.failures", (first, poisson(first)), (second, poisson(second)), tolerance)


def _servers(before: Result, after: Result, tolerance: float) -> Iterator[Line]:
    """The means over the judged stages. A process that only one run had is part of the environment."""
    keys = sorted({key for sample in before.series for key in sample.server if key.rpartition(".")[2] in SERVER})
    for key in keys:
        first, second = mean_of(before, key), mean_of(after, key)
        if first is not None and second is not None:
            yield _line(f"server.{key}", first, second, tolerance)


def _line(key: str, before: _Measured, after: _Measured, tolerance: float, *, more: Change = Change.WORSE) -> Line:
    (first, noise), (second, other) = before, after
    change = Change.SAME
    if second - first > tolerance * first and other[0] > noise[1]:
        change = more
    elif first - second > tolerance * first and other[1] < noise[0]:
        change = Change.WORSE if more is Change.BETTER else Change.BETTER
    return Line(key=key, before=first, after=second, noise_before=noise, noise_after=other, change=change)


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
