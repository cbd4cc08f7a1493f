"""The axes of a chart: where a value lies between 0 and 1, and which values are written beside it."""

import math
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from loadtest.report.page.figures import clock, figure

_SECONDS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400)
_TIMES: Final = 6
"""Marks on an axis of time: as many as a phone has room for."""
_MARKS: Final = 4
_WIDE: Final = 20.0
"""From this ratio of the largest to the smallest on, a linear axis would hide the small ones."""
_FEW_DECADES: Final = 2.5
"""Up to as many, more than two marks fit into each."""
_HEADROOM: Final = 0.13
"""Of a logarithmic axis: for the names of stages and limits."""
_LEAST_GAP: Final = 0.09
"""Of the length of an axis, between two marks."""


class Axis(Struct, frozen=True):
    """`place` gives 0 for the low end and 1 for the high one; `marks` are places with their text."""

    place: Callable[[float], float]
    marks: list[tuple[float, str]]


def time_axis(until_s: float) -> Axis:
    """Return the axis of a run's seconds, from 0."""
    until = max(1.0, until_s)
    step = next((step for step in _SECONDS if until / step <= _TIMES), until / _TIMES)
    marks = [(step * n / until, clock(step * n)) for n in range(math.floor(until / step) + 1)]
    return Axis(lambda seconds: seconds / until, marks)


def value_axis(values: Iterable[float], unit: str) -> Axis:
    """Return a linear axis from 0."""
    high = max(values, default=0.0) or 1.0
    step = _round_step(high / _MARKS)
    top = step * math.ceil(high * 1.02 / step)
    marks = [(step * n / top, figure(step * n, unit)) for n in range(round(top / step) + 1)]
    return Axis(lambda value: value / top, marks)


def latency_axis(values: Iterable[float]) -> Axis:
    """Return an axis of milliseconds: logarithmic where a linear one would hide what is small."""
    found = [value for value in values if value > 0]
    if not found or max(found) / min(found) < _WIDE:
        return value_axis(found, "ms")
    low, high = math.log10(min(found)), math.log10(max(found))
    low, high = low - 0.02 * (high - low), high + _HEADROOM * (high - low)

    def place(value: float) -> float:
        return (math.log10(max(value, 1e-9)) - low) / (high - low)

    steps = (1, 2, 5) if high - low < _FEW_DECADES else (1, 3)
    marks = [
        (place(step * 10.0**decade), figure(step * 10.0**decade, "ms"))
        for decade in range(math.floor(low), math.ceil(high) + 1)
        for step in steps
    ]
    return Axis(place, _apart([mark for mark in marks if 0 <= mark[0] <= 1]))


def percentile_axis(most: float) -> Axis:
    """Return the axis of nines, HdrHistogram's own: each step to the right is a tenth of who still waits."""
    last = max(1.0, min(6.0, -math.log10(max(1e-9, 1 - most / 100))))

    def place(percentile: float) -> float:
        return min(last, -math.log10(max(1e-9, 1 - percentile / 100))) / last

    nines = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999)
    return Axis(place, _apart([(place(value), f"{value:.7g} %") for value in nines if value <= most]))


def _round_step(rough: float) -> float:
    decade = 10.0 ** math.floor(math.log10(rough))
    return next(decade * nice for nice in (1, 2, 2.5, 5, 10) if decade * nice >= rough * 0.999)


def _apart(marks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    kept: list[tuple[float, str]] = []
    for mark in marks:
        if not kept or mark[0] - kept[-1][0] >= _LEAST_GAP:
            kept.append(mark)
    return kept
