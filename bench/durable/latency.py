"""Latencies as percentiles, through an HDR histogram of three digits."""

from collections.abc import Iterable
from typing import Any, Final

from hdrh.histogram import HdrHistogram

MOST_US: Final = 120_000_000
DIGITS: Final = 3
_CURVE: Final = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 100.0)
_US_NS: Final = 1_000
_MS_US: Final = 1_000


def summarise(latencies_ns: Iterable[int]) -> dict[str, Any]:
    """Return `count`, `p50_ms`, `p99_ms`, `p999_ms`, `max_ms` and a `curve` of [percentile, ms]; None without any."""
    histogram = HdrHistogram(1, MOST_US, DIGITS)
    for latency in latencies_ns:
        histogram.record_value(min(MOST_US, max(1, latency // _US_NS)))
    count = histogram.get_total_count()

    def at(percentile: float) -> float | None:
        return histogram.get_value_at_percentile(percentile) / _MS_US if count else None

    named = {"p50_ms": at(50.0), "p99_ms": at(99.0), "p999_ms": at(99.9), "max_ms": at(100.0)}
    return {"count": count, **named, "curve": [[place, at(place)] for place in _CURVE] if count else []}
