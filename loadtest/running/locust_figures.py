"""Locust's own statistics, fed once a second from the workers' ledgers, so that its page and its tables show our load.

A message counts from when it was due.
"""

import time
from typing import Any, Final

from locust.stats import RequestStats, StatsEntry, bucket_response_time

from loadtest.ledger.histogram import Histogram
from loadtest.ledger.reports import Tick

_NAMES: Final = (
    ("ack", "SEND", "message, to ack"),
    ("receive", "RECV", "message, to receiver"),
    ("request", "API", "request"),
)


def count_second(stats: RequestStats, second: Tick) -> None:
    """Add what happened within a second."""
    for field, method, name in _NAMES:
        histogram: Histogram = getattr(second, field)
        if histogram.count:
            entry = _entry(stats, method, name, histogram)
            stats.get(name, method).extend(entry)
            stats.total.extend(entry)


def _entry(stats: RequestStats, method: str, name: str, histogram: Histogram) -> StatsEntry:
    now = time.time()
    entry: Any = StatsEntry(stats, name, method)
    for took_ms, count in histogram.counts_ms():
        bucket = bucket_response_time(took_ms)
        entry.response_times[bucket] = entry.response_times.get(bucket, 0) + count
        entry.total_response_time += took_ms * count
        entry.max_response_time = max(entry.max_response_time, took_ms)
        entry.min_response_time = min(took_ms, took_ms if entry.min_response_time is None else entry.min_response_time)
    entry.num_requests = histogram.count
    entry.num_reqs_per_sec = {int(now): histogram.count}
    entry.last_request_timestamp = now
    return entry  # type: ignore[no-any-return]
