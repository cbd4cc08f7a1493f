"""How often which latency was seen: the buckets of an HDR histogram of three digits, of which only used ones exist."""

from collections.abc import Iterable
from typing import Any, Final

from hdrh.histogram import HdrHistogram
from msgspec import Struct, field

from loadtest.report.result import Latency

MOST_US: Final = 3_600_000_000  # an hour. What took longer counts as that
DIGITS: Final = 3
_HALF_BITS: Final = 10
_BITS: Final = _HALF_BITS + 1
_EXACT_US: Final = 1 << _BITS  # below this each microsecond has its own bucket; above, buckets grow with the value
_US_NS: Final = 1_000
_MS_US: Final = 1_000
_CURVE: Final = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0)


class Histogram(Struct, array_like=True):
    """Latencies, recorded in nanoseconds and kept in microseconds.

    HdrHistogram keeps all its 23,000 counts; a worker has one of these for each stage and operation, and sends several
    each second. `buckets` says how many by index of the HdrHistogram's counts, for `1, MOST_US, DIGITS`.
    """

    buckets: dict[int, int] = field(default_factory=dict)

    def record(self, took_ns: int) -> None:
        """Count one latency. A negative one, which an uncertain clock may give, counts as none at all."""
        took_us = took_ns // _US_NS
        if took_us >= _EXACT_US:
            shift = min(took_us, MOST_US).bit_length() - _BITS
            took_us = (shift << _HALF_BITS) + (min(took_us, MOST_US) >> shift)
        elif took_us < 0:
            took_us = 0
        buckets = self.buckets
        buckets[took_us] = buckets.get(took_us, 0) + 1

    @property
    def count(self) -> int:
        """How many were recorded."""
        return sum(self.buckets.values())

    def add(self, other: "Histogram") -> None:
        """Take over what another one saw."""
        for index, count in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + count

    def percentiles_ms(self, places: Iterable[float]) -> list[float | None]:
        """Return the latency at each place (0 to 100), as HdrHistogram does: the most that its bucket stands for."""
        ordered = sorted(self.buckets.items())
        whole = sum(count for _, count in ordered)
        return [_find(ordered, place, whole) if whole else None for place in places]

    def percentile_ms(self, place: float) -> float | None:
        """Return the latency at one place; None when nothing was recorded."""
        return self.percentiles_ms((place,))[0]

    def latency(self) -> Latency:
        """Return the figures of a result."""
        if not self.buckets:
            return Latency()
        p50, p95, p99, p999, most = self.percentiles_ms((50.0, 95.0, 99.0, 99.9, 100.0))
        curve = [(place, value) for place, value in zip(_CURVE, self.percentiles_ms(_CURVE), strict=True) if value]
        figures = {"p50": p50, "p95": p95, "p99": p99, "p999": p999, "max": most}
        return Latency(count=self.count, curve=curve, hdr=self.hdr().encode().decode(), **figures)

    def counts_ms(self) -> list[tuple[float, int]]:
        """Return each latency that was seen, at the upper end of its bucket, and how often."""
        return [(_most_us(index) / _MS_US, count) for index, count in sorted(self.buckets.items())]

    def hdr(self) -> Any:
        """Return the same as a HdrHistogram, in microseconds."""
        histogram = HdrHistogram(1, MOST_US, DIGITS)
        for index, count in self.buckets.items():
            histogram.record_value(_least_us(index), count)
        return histogram


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """Return one that saw what all of them saw."""
    merged = Histogram()
    for histogram in histograms:
        merged.add(histogram)
    return merged


def _find(ordered: list[tuple[int, int]], place: float, whole: int) -> float:
    wanted = max(1, int(place * whole / 100 + 0.5))
    seen = 0
    for index, count in ordered:  # noqa: B007 - it is where the search ended
        seen += count
        if seen >= wanted:
            break
    # Place 0 is the least that was seen, not the most that its bucket stands for.
    return (_most_us(index) if place else _least_us(index)) / _MS_US


def _shift(index: int) -> int:
    return 0 if index < _EXACT_US else (index >> _HALF_BITS) - 1


def _least_us(index: int) -> int:
    shift = _shift(index)
    return (index - (shift << _HALF_BITS)) << shift


def _most_us(index: int) -> int:
    return _least_us(index) + (1 << _shift(index)) - 1
