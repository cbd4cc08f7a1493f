"""The servers of a run from outside: CPU and memory of their processes, and their own metrics."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from msgspec import Struct

from loadtest.watch.metrics import Metrics

_MIB = 1 << 20


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


class Watch:
    """What is sampled of the servers once a second.

    `pids` are processes by name; they may change meanwhile, as when a node is started again.
    """

    def __init__(self, pids: Mapping[str, int], metrics_urls: Iterable[str]) -> None:
        self._pids = pids
        self._before: dict[int, tuple[float, float]] = {}
        self._metrics = Metrics(metrics_urls)
        self._sampled_at = time.monotonic()

    def sample(self) -> dict[str, float]:
        """Return what is known of the time since the last sample, by the keys of `series[].server`.

        Of each process these are `<process>.cpu_percent` of one core, and `<process>.rss_mib`.
        """
        sampled, seen = {}, {}
        for name, pid in list(self._pids.items()):
            usage, now = usage_of(pid), time.monotonic()
            if usage is None:
                continue
            seen[pid] = (now, usage.cpu_seconds)
            sampled[f"{name}.rss_mib"] = round(usage.rss_mib, 1)
            if pid in self._before and now > self._before[pid][0]:
                since, used = self._before[pid]
                # A child that ends takes what it used away until its parent has waited for it.
                share = max(0.0, usage.cpu_seconds - used) / (now - since)
                sampled[f"{name}.cpu_percent"] = round(100 * share, 1)
        self._before = seen
        before, self._sampled_at = self._sampled_at, time.monotonic()
        return sampled | self._metrics.sample(self._sampled_at - before)
