"""How much a figure of one run says by itself."""

import math
from collections.abc import Callable
from statistics import fmean, median, stdev
from typing import Final

from loadtest.report.result import Result, Sample

DEVIATIONS: Final = 3.0
"""To either side. A comparison looks at dozens of figures, and with two deviations one of them would cry wolf."""
_BATCHES: Final = 10
"""Seconds next to each other are alike; the means of ten long stretches are independent enough."""
_MIDDLE: Final = 50.0


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
    seconds = [sample.p99_ms if percentile > _MIDDLE else sample.p50_ms for sample in _judged(result)]
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
