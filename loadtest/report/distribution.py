"""A histogram read back from a result: what stands at which rank, and how sure that is."""

import math
from bisect import bisect_left
from functools import lru_cache
from itertools import accumulate
from typing import Final

from hdrh.histogram import HdrHistogram
from msgspec import Struct

from loadtest.ledger.histogram import Histogram
from loadtest.report.result import Latency

_TICKS_PER_HALF: Final = 8  # points of a curve between 50 % and 75 %, between 75 % and 87.5 %, and so on


class DistributionError(Exception):
    """The text is not a histogram: HdrHistogram V2, compressed, base64."""


class Distribution(Struct, frozen=True):
    """Values in milliseconds, rising, and how many measurements lie at or below each."""

    values_ms: list[float]
    until: list[int]

    @property
    def count(self) -> int:
        """All measurements."""
        return self.until[-1]

    def at(self, percentile: float) -> float:
        """Return the milliseconds that so many percent of measurements do not exceed."""
        return self._at_rank(math.ceil(self.count * percentile / 100))

    def interval(self, percentile: float, deviations: float) -> tuple[float, float]:
        """Return between which milliseconds the true percentile lies, by order statistics.

        The rank of a percentile among `count` measurements is binomial; `deviations` of it to either side are taken.
        This takes measurements as independent, which a stall is not: it is the least noise there can be.
        """
        share = percentile / 100
        about = deviations * math.sqrt(self.count * share * (1 - share))
        middle = self.count * share
        return self._at_rank(math.floor(middle - about)), self._at_rank(math.ceil(middle + about) + 1)

    def curve(self) -> list[tuple[float, float]]:
        """Return `(percentile, milliseconds)`, as dense on an axis of nines everywhere, up to the largest value."""
        steps = math.ceil(math.log2(max(2, self.count))) * _TICKS_PER_HALF
        percentiles = [100 * (1 - 0.5 ** (step / _TICKS_PER_HALF)) for step in range(steps)]
        return [(percentile, self.at(percentile)) for percentile in (*percentiles, 100.0)]

    def _at_rank(self, rank: int) -> float:
        return self.values_ms[bisect_left(self.until, min(max(rank, 1), self.count))]


def read_distribution(latency: Latency) -> Distribution | None:
    """Return what was measured; None when nothing was, or its histogram is not there. Raises DistributionError."""
    return _decode(latency.hdr) if latency.hdr and latency.count else None


@lru_cache(maxsize=256)
def _decode(hdr: str) -> Distribution | None:
    try:
        # Much faster than the library's iterators, which walk each count in Python.
        counts = {index: count for index, count in enumerate(HdrHistogram.decode(hdr).counts) if count}
    except Exception as error:  # the library raises whatever its parts do: zlib, base64, struct and its own
        raise DistributionError("not a histogram that HdrHistogram can read") from error
    seen = Histogram(counts).counts_ms()
    return Distribution([value for value, _ in seen], list(accumulate(count for _, count in seen))) if seen else None


def curve_of(latency: Latency) -> list[tuple[float, float]]:
    """Return the finest curve that a result has: of the histogram, or the points it names."""
    try:
        distribution = read_distribution(latency)
    except DistributionError:
        distribution = None
    return distribution.curve() if distribution else list(latency.curve)
