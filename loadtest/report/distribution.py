"""A histogram read back from a result: what stands at which percentile, and how sure that is."""

import math
from functools import lru_cache
from typing import Final

from hdrh.histogram import HdrHistogram

from loadtest.exits import CouldNotRun
from loadtest.ledger.histogram import Histogram
from loadtest.report.result import Latency

_TICKS_PER_HALF: Final = 8  # points of a curve between 50 % and 75 %, between 75 % and 87.5 %, and so on


class DistributionError(CouldNotRun):
    """The text is not a histogram: HdrHistogram V2, compressed, base64."""


@lru_cache(maxsize=256)
def read_histogram(hdr: str) -> Histogram:
    """Return what was measured; an empty text is nothing. Raises DistributionError."""
    try:
        # Much faster than the library's iterators, which walk each count in Python.
        counts = HdrHistogram.decode(hdr).counts if hdr else []
    except Exception as error:  # the library raises whatever its parts do: zlib, base64, struct and its own
        raise DistributionError("a histogram in the result is none that HdrHistogram can read") from error
    return Histogram({index: count for index, count in enumerate(counts) if count})


def interval_of(histogram: Histogram, percentile: float, deviations: float) -> tuple[float, float]:
    """Return between which milliseconds the true percentile lies, by order statistics.

    The rank of a percentile among `count` measurements is binomial; `deviations` of it to either side are taken.
    This takes measurements as independent, which a stall is not: it is the least noise there can be.
    """
    share, count = percentile / 100, histogram.count
    about = 100 * (deviations * math.sqrt(count * share * (1 - share)) + 0.5) / count
    places = (max(0.0, percentile - about), min(100.0, percentile + about))
    low, high = (value or 0.0 for value in histogram.percentiles_ms(places))
    return low, high


def curve_of(latency: Latency) -> list[tuple[float, float]]:
    """Return `(percentile, milliseconds)`, as dense on an axis of nines everywhere, up to the largest value.

    Where the histogram is not there or cannot be read, these are the few points that the result names.
    """
    try:
        histogram = read_histogram(latency.hdr)
    except DistributionError:
        return latency.curve
    steps = math.ceil(math.log2(max(2, histogram.count))) * _TICKS_PER_HALF
    places = [*(100 * (1 - 0.5 ** (step / _TICKS_PER_HALF)) for step in range(steps)), 100.0]
    values = zip(places, histogram.percentiles_ms(places), strict=True)
    return [(place, value) for place, value in values if value is not None] or latency.curve
