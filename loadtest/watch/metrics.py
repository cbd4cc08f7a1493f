"""A relay node's metrics, as far as a report shows them, read once a second.

A node that does not answer in time is left out.
"""

import http.client
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

_SECONDS: Final = 1.0
_PAGE_BYTES: Final = 1 << 20
_PREFIX: Final = "varde_relay_"
CONNECTIONS: Final = f"{_PREFIX}connections"
HISTOGRAMS: Final = {
    f"{_PREFIX}loop_lateness_seconds": "relay.lateness_ms",
    f"{_PREFIX}commit_seconds": "relay.commit_ms",
    f"{_PREFIX}fan_out_seconds": "relay.fan_out_ms",
}
"""Of each, the 99th percentile of what happened since the last sample; the mean, where that is in the first bucket."""
COUNTERS: Final = {
    f"{_PREFIX}disconnects_total": "relay.closes_per_second",
    f"{_PREFIX}messages_committed_total": "relay.commits_per_second",
}
GAUGES: Final = {
    f"{_PREFIX}outbox_deepest_bytes": "relay.outbox_deepest_kib",
    f"{_PREFIX}journal_waiting_messages": "relay.journal_waiting",
}
_UNITS: Final = {"relay.outbox_deepest_kib": 1 / 1024}
_WANTED: Final = (
    *(f"{name}_bucket{{" for name in HISTOGRAMS),
    *(f"{name}_{part}" for name in HISTOGRAMS for part in ("sum", "count")),
    *(*COUNTERS, *GAUGES, f'{CONNECTIONS}{{state="established"}}'),
)


class Page:
    """What one scrape of one node said. `buckets` are cumulative, by their upper bound in seconds."""

    __slots__ = ("buckets", "values")

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.buckets: dict[str, dict[float, float]] = {}


def scrape(url: str, timeout: float = _SECONDS) -> Page | None:
    """Fetch a node's page. None when it does not answer as it should, for whatever reason."""
    try:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    except (ValueError, http.client.HTTPException):
        return None
    try:
        connection.request("GET", parts.path or "/metrics")
        answer = connection.getresponse()
        text = answer.read(_PAGE_BYTES).decode("utf-8", "replace")
        return parse(text) if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def parse(text: str) -> Page:
    """Read the series that are wanted. Raises ValueError for what is not the text format."""
    page = Page()
    lines = [line for line in text.splitlines() if line.startswith(_WANTED)]
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            if "le" in sample.labels:
                buckets = page.buckets.setdefault(sample.name.removesuffix("_bucket"), {})
                buckets[float(sample.labels["le"])] = sample.value
            else:
                page.values[sample.name] = page.values.get(sample.name, 0.0) + sample.value
    return page


class Metrics:
    """All nodes of a system, added up."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._urls = tuple(urls)
        self._before: dict[str, Page] = {}

    def sample(self, seconds: float) -> dict[str, float]:
        """Scrape all nodes. `seconds` have passed since the last time; what grows is left out the first time."""
        pages = {url: page for url in self._urls if (page := scrape(url)) is not None}
        sampled = _standing(list(pages.values()))
        pairs = [(self._before[url], page) for url, page in pages.items() if url in self._before]
        if pairs and seconds > 0:
            sampled |= _grown(pairs, seconds)
        self._before = pages
        return sampled


def _standing(pages: list[Page]) -> dict[str, float]:
    if not pages:
        return {}
    sampled = {"relay.connections": sum(page.values.get(CONNECTIONS, 0.0) for page in pages)}
    for name, key in GAUGES.items():
        sampled[key] = round(max(page.values.get(name, 0.0) for page in pages) * _UNITS.get(key, 1), 1)
    return sampled


def _grown(pairs: list[tuple[Page, Page]], seconds: float) -> dict[str, float]:
    """What happened between two pages of each node. A node that began anew counts from 0."""
    sampled = {}
    for name, key in COUNTERS.items():
        grown = sum(_difference(old.values.get(name, 0.0), new.values.get(name, 0.0)) for old, new in pairs)
        sampled[key] = round(grown / seconds, 1)
    for name, key in HISTOGRAMS.items():
        if (slow := _slow(pairs, name)) is not None:
            sampled[key] = round(slow * 1000, 2)
    return sampled


def _slow(pairs: list[tuple[Page, Page]], name: str) -> float | None:
    """Return the 99th percentile of a histogram between two pages, None where nothing happened."""
    between: dict[float, float] = {}
    for old, new in pairs:
        for bound, value in new.buckets.get(name, {}).items():
            before = old.buckets.get(name, {}).get(bound, 0.0)
            between[bound] = between.get(bound, 0.0) + _difference(before, value)
    found = percentile(between, 0.99)
    if found is not None and found <= min(between):
        # All that is known is that it was less than the first bound; the mean is a better word for it.
        whole, count = (
            sum(_difference(old.values.get(key, 0.0), new.values.get(key, 0.0)) for old, new in pairs)
            for key in (f"{name}_sum", f"{name}_count")
        )
        return whole / count if count else found
    return found


def _difference(old: float, new: float) -> float:
    return new - old if new >= old else new


def percentile(buckets: dict[float, float], share: float) -> float | None:
    """Return a percentile of cumulative buckets, on a straight line within one; None when they are empty."""
    bounds = sorted(buckets)
    if not bounds or not buckets[bounds[-1]]:
        return None
    rank, low, below = share * buckets[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank and buckets[bound] > below:
            # Beyond the last finite bound nothing is known but that it was more.
            return low if bound == float("inf") else low + (bound - low) * (rank - below) / (buckets[bound] - below)
        low, below = bound, buckets[bound]
    return low
