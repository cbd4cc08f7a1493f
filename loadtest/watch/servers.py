"""The servers of a run from outside: CPU and memory of processes, and metrics of the nodes that answer."""

import http.client
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import psutil
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

_MIB: Final = 1 << 20
_SECONDS: Final = 1.0
_PAGE_BYTES: Final = 1 << 20
_RELAY: Final = "varde_relay_"
CONNECTIONS: Final = f"{_RELAY}connections"
HISTOGRAMS: Final = {
    f"{_RELAY}loop_lateness_seconds": "relay.lateness_ms",
    f"{_RELAY}commit_seconds": "relay.commit_ms",
    f"{_RELAY}fan_out_seconds": "relay.fan_out_ms",
}
COUNTERS: Final = {
    f"{_RELAY}disconnects_total": "relay.closes_per_second",
    f"{_RELAY}messages_committed_total": "relay.commits_per_second",
}
GAUGES: Final = {
    f"{_RELAY}outbox_deepest_bytes": ("relay.outbox_deepest_kib", 1 / 1024),
    f"{_RELAY}journal_waiting_messages": ("relay.journal_waiting", 1.0),
}
_WANTED: Final = (
    *(f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket{", "sum", "count")),
    *(*COUNTERS, *GAUGES, f'{CONNECTIONS}{{state="established"}}'),
)
_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # nodes are near

Page: TypeAlias = defaultdict[tuple[str, str], float]
"""Values by name and `le`, which is empty but for the buckets of a histogram; added up over all other labels."""


class Usage(Struct, frozen=True):
    """A process with its children. `cpu_seconds` grows; `rss_mib` is what is its own, and what is shared once."""

    cpu_seconds: float
    rss_mib: float


def usage_of(pid: int) -> Usage | None:
    """Look at a process and what descends from it. None when it is gone."""
    cpu_seconds, private, shared = 0.0, 0, 0
    family = [pid]
    for each in family:
        try:
            process = psutil.Process(each)
            spent, memory = process.cpu_times(), process.memory_info()
        except psutil.NoSuchProcess:
            if each == pid:
                return None
            continue
        cpu_seconds += sum(spent[:4])  # with what children took that were waited for
        private += memory.rss - memory.shared
        shared = max(shared, memory.shared)
        # `Process.children` reads the parent of every process there is: 15 ms a second with 270 of them, of the cores
        # that are measured. The kernel's own list takes a twentieth.
        for path in Path(f"/proc/{each}/task").glob("*/children"):
            with suppress(OSError):
                family += map(int, path.read_text().split())
    return Usage(cpu_seconds, (private + shared) / _MIB)


class Look(Struct, frozen=True):
    """What the servers were like at one moment: processes by name, and the pages of nodes that answered by URL."""

    at: float  # monotonic seconds
    processes: dict[str, tuple[int, Usage]]  # with the pid: a name may get another process
    pages: dict[str, Page]


def look_at(pids: Mapping[str, int], metrics_urls: Iterable[str]) -> Look:
    """Look at processes and metrics. Who is gone or does not answer is left out."""
    at = time.monotonic()
    processes = {name: (pid, usage) for name, pid in pids.items() if (usage := usage_of(pid)) is not None}
    return Look(at, processes, {url: page for url in metrics_urls if (page := scrape(url)) is not None})


def figures_of(before: Look, now: Look) -> dict[str, float]:
    """Return CPU (percent of a core) and memory of each process and the metrics, by keys of `series[].server`.

    What grows is left out where `before` has nothing to compare it with. Nodes are added up.
    """
    figures, seconds, pages = dict[str, float](), now.at - before.at, now.pages
    for name, (pid, usage) in now.processes.items():
        figures[f"{name}.rss_mib"] = round(usage.rss_mib, 1)
        old_pid, old = before.processes.get(name, (0, usage))
        if old_pid == pid and seconds > 0:
            # A child that ends takes what it used away until its parent has waited for it.
            used = max(0.0, usage.cpu_seconds - old.cpu_seconds)
            figures[f"{name}.cpu_percent"] = round(100 * used / seconds, 1)
    if pages:
        figures["relay.connections"] = sum(page[CONNECTIONS, ""] for page in pages.values())
        for name, (key, unit) in GAUGES.items():
            figures[key] = round(max(page[name, ""] for page in pages.values()) * unit, 1)
    if (known := before.pages.keys() & pages.keys()) and seconds > 0:
        grown = Page(float)
        for url in known:
            for series, value in pages[url].items():
                was = before.pages[url][series]
                grown[series] += value - was if value >= was else value  # a node that began anew counts from 0
        figures |= {key: round(grown[name, ""] / seconds, 1) for name, key in COUNTERS.items()}
        slow = {key: _p99(grown, name) for name, key in HISTOGRAMS.items()}
        figures |= {key: round(value * 1000, 2) for key, value in slow.items() if value is not None}
    return figures


def scrape(url: str, timeout: float = _SECONDS) -> Page | None:
    """Fetch a node's page. None when it does not answer as it should, for whatever reason."""
    try:
        with _OPENER.open(url, timeout=timeout) as answer:
            return parse(answer.read(_PAGE_BYTES).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException, ValueError):
        return None


def parse(text: str) -> Page:
    """Read the series that are wanted. Raises ValueError for what is not the text format."""
    page = Page(float)
    lines = [line for line in text.splitlines() if line.startswith(_WANTED)]
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            page[sample.name, sample.labels.get("le", "")] += sample.value
    return page


def _p99(grown: Page, histogram: str) -> float | None:
    """Return the 99th percentile of what a histogram got between two pages, None where that is nothing."""
    buckets = {float(le): count for (name, le), count in grown.items() if name == f"{histogram}_bucket"}
    found = percentile(buckets, 0.99)
    if found is not None and found <= min(buckets) and (count := grown[f"{histogram}_count", ""]):
        return grown[f"{histogram}_sum", ""] / count  # all that the first bucket says is "less"; the mean says more
    return found


def percentile(buckets: dict[float, float], share: float) -> float | None:
    """Return a percentile of cumulative buckets, on a straight line within one; None when they are empty."""
    if not (count := max(buckets.values(), default=0.0)):
        return None
    rank, low, below = share * count, 0.0, 0.0
    for bound in sorted(buckets):
        if buckets[bound] >= rank and buckets[bound] > below:
            # Beyond the last finite bound nothing is known but that it was more.
            return low if bound == float("inf") else low + (bound - low) * (rank - below) / (buckets[bound] - below)
        low, below = bound, buckets[bound]
    return low
