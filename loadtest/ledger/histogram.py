"""What adds up over seconds, stages and workers: counters, and HDR histograms of three digits."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, Self

from hdrh.histogram import HdrHistogram
from msgspec import Struct, field

from loadtest.exits import CouldNotRun
from loadtest.report.result import Latency

MOST_US: Final = 3_600_000_000  # an hour. What took longer counts as that
DIGITS: Final = 3
_HALF_BITS: Final = 10
_BITS: Final = _HALF_BITS + 1
"""Of HdrHistogram for three digits: 2,048 exact values, and then 1,024 buckets for each doubling."""
_EXACT_US: Final = 1 << _BITS  # below this each microsecond has its own bucket; above, buckets grow with the value
_CURVE: Final = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0)


class Sums(Struct, array_like=True):
    """Counters, other sums, and dicts of either, which add up field by field."""

    def merge(self, other: Self) -> None:
        """Add all of another one."""
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, int):
                setattr(self, name, mine + theirs)
            elif isinstance(mine, Sums):
                mine.merge(theirs)
            else:
                merge_counts(mine, theirs)


def merge_counts(whole: dict[Any, Any], part: dict[Any, Any]) -> None:
    """Add one dict of counts, or of sums, to another."""
    for key, value in part.items():
        if isinstance(value, int):
            whole[key] = whole.get(key, 0) + value
        else:
            whole.setdefault(key, type(value)()).merge(value)


class Histogram(Sums):
    """Latencies, recorded in nanoseconds and kept in microseconds.

    HdrHistogram keeps all its 23,000 counts; a worker has one of these for each stage and operation, and sends several
    each second. `buckets` says how many by index of the HdrHistogram's counts, for `1, MOST_US, DIGITS`.
    """

    buckets: dict[int, int] = field(default_factory=dict)

    def record(self, took_ns: int) -> None:
        """Count one latency. A negative one, which an uncertain clock may give, counts as 0."""
        took_us = min(max(took_ns // 1_000, 0), MOST_US)
        if took_us >= _EXACT_US:
            shift = took_us.bit_length() - _BITS
            took_us = (shift << _HALF_BITS) + (took_us >> shift)
        self.buckets[took_us] = self.buckets.get(took_us, 0) + 1

    @property
    def count(self) -> int:
        """How many were recorded."""
        return sum(self.buckets.values())

    def percentiles_ms(self, places: Sequence[float]) -> list[float | None]:
        """Return the upper end of the bucket at each place (0 to 100), at 0 the lower one; None without any."""
        if not self.buckets:
            return [None for _ in places]
        indices = sorted(self.buckets)
        until = list(accumulate(self.buckets[index] for index in indices))
        ranks = [max(1, int(place * until[-1] / 100 + 0.5)) for place in places]
        found = [indices[bisect_left(until, rank)] for rank in ranks]
        return [_bounds_us(index)[place > 0] / 1_000 for index, place in zip(found, places, strict=True)]

    def percentile_ms(self, place: float) -> float | None:
        """Return the latency at one place; None when nothing was recorded."""
        return self.percentiles_ms((place,))[0]

    def latency(self) -> Latency:
        """Return the figures of a result."""
        if not self.buckets:
            return Latency()
        p50, p95, p99, p999, most = self.percentiles_ms((50.0, 95.0, 99.0, 99.9, 100.0))
        curve = [(place, value) for place, value in zip(_CURVE, self.percentiles_ms(_CURVE), strict=True) if value]
        hdr = HdrHistogram(1, MOST_US, DIGITS)
        for index, count in self.buckets.items():
            hdr.record_value(_bounds_us(index)[0], count)
        figures = {"p50": p50, "p95": p95, "p99": p99, "p999": p999, "max": most}
        return Latency(count=self.count, curve=curve, hdr=hdr.encode().decode(), **figures)

    def counts_ms(self) -> list[tuple[float, int]]:
        """Return each latency that was seen, at the upper end of its bucket, and how often."""
        return [(_bounds_us(index)[1] / 1_000, count) for index, count in sorted(self.buckets.items())]


def _bounds_us(index: int) -> tuple[int, int]:
    """Return the least and the most microseconds that a bucket stands for."""
    shift = max(0, (index >> _HALF_BITS) - 1)
    least = (index - (shift << _HALF_BITS)) << shift
    return least, least + (1 << shift) - 1


@lru_cache(maxsize=256)
def read_histogram(hdr: str) -> Histogram:
    """Return what was measured, from `Latency.hdr`; an empty text is nothing. Raises CouldNotRun."""
    try:
        # Much faster than the library's iterators, which walk each count in Python.
        counts = HdrHistogram.decode(hdr).counts if hdr else []
    except Exception as error:  # the library raises whatever its parts do: zlib, base64, struct and its own
        raise CouldNotRun("a histogram in the result is none that HdrHistogram can read") from error
    return Histogram({index: count for index, count in enumerate(counts) if count})
