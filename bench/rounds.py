"""Several measurements of one thing: the median stands for them, and how far they spread stays visible."""

import statistics
from collections.abc import Sequence
from typing import Final, TypeAlias

from bench.driving import Window

Point: TypeAlias = dict[str, object]
"""One measured point as it is written to JSON."""

_DIGITS: Final = 4


def rounded(value: float) -> float:
    """Return a figure with the four digits that a benchmark can claim."""
    return float(f"{value:.{_DIGITS}g}")


def point_of(key: str, values: Sequence[float]) -> Point:
    """Return the median under `key`, with the smallest and the largest value, and all in their order."""
    return {
        key: rounded(statistics.median(values)),
        "spread": [rounded(min(values)), rounded(max(values))],
        "rounds": [rounded(value) for value in values],
    }


def point_of_windows(key: str, windows: Sequence[Window], offered: float) -> Point:
    """Return server CPU per delivery of several windows, in microseconds, with what was offered and what was done."""
    bound = [window.generator_bound for window in windows]
    achieved = statistics.median(window.deliveries / window.seconds for window in windows)
    return {
        **point_of(key, [window.us_per_delivery for window in windows]),
        "offered_per_second": rounded(offered),
        "achieved_per_second": rounded(achieved),
        "held_back": sum(window.held_back for window in windows),
        "refused": sum(window.refused for window in windows),
        "server_load": rounded(statistics.median(window.server_cpu / window.seconds for window in windows)),
        "generator_load": rounded(max(window.generator_load for window in windows)),
        "generator_bound": any(bound),
    }
