"""The servers of a run from outside: CPU and memory of their processes, and their own metrics."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

import psutil
from msgspec import Struct

from loadtest.watch.metrics import Metrics

_MIB = 1 << 20


class Usage(Struct, frozen=True):
    """A process with its children. `cpu_seconds` grows; `rss_mib` is what is its own, and what is shared once."""

    cpu_seconds: float
    rss_mib: float


def usages_of(pids: Iterable[int]) -> dict[int, Usage]:
    """Look at some processes at once: `psutil.Process.children` would go over all processes for each of them."""
    children: dict[int, list[psutil.Process]] = {}
    alive = {}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            children.setdefault(process.ppid(), []).append(process)
            alive[process.pid] = process
    return {pid: _usage(alive[pid], children) for pid in pids if pid in alive}


def _usage(root: psutil.Process, children: Mapping[int, list[psutil.Process]]) -> Usage:
    cpu_seconds, private, shared = 0.0, 0, 0
    family = [root]
    for process in family:
        family += children.get(process.pid, ())
        with suppress(psutil.NoSuchProcess):
            spent, memory = process.cpu_times(), process.memory_info()
            cpu_seconds += sum(spent[:4])  # with what children took that were waited for
            private += memory.rss - memory.shared
            shared = max(shared, memory.shared)
    return Usage(cpu_seconds, (private + shared) / _MIB)


class Processes:
    """Named processes, looked at again and again. `pids` may change meanwhile, as when a node is started again."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._before: dict[int, tuple[float, float]] = {}

    def sample(self) -> dict[str, float]:
        """Return `<process>.cpu_percent` of one core since the last sample, and `<process>.rss_mib`."""
        sampled, seen = {}, {}
        named = dict(self._pids)
        usages, now = usages_of(named.values()) if named else {}, time.monotonic()
        for name, pid in named.items():
            if (usage := usages.get(pid)) is None:
                continue
            seen[pid] = (now, usage.cpu_seconds)
            sampled[f"{name}.rss_mib"] = round(usage.rss_mib, 1)
            if pid in self._before and now > self._before[pid][0]:
                since, used = self._before[pid]
                # A child that ends takes what it used away until its parent has waited for it.
                share = max(0.0, usage.cpu_seconds - used) / (now - since)
                sampled[f"{name}.cpu_percent"] = round(100 * share, 1)
        self._before = seen
        return sampled


class Watch:
    """Everything that is sampled of the servers once a second."""

    def __init__(self, pids: Mapping[str, int], metrics_urls: Iterable[str]) -> None:
        self._processes = Processes(pids)
        self._metrics = Metrics(metrics_urls)
        self._sampled_at = time.monotonic()

    def sample(self) -> dict[str, float]:
        """Return what is known of the time since the last sample, by the keys of `series[].server`."""
        now = time.monotonic()
        seconds, self._sampled_at = max(now - self._sampled_at, 1e-3), now
        return self._processes.sample() | self._metrics.sample(seconds)
