"""Values that are only read at a scrape: a walk over all connections, and what the operating system reports."""

import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from observability.histogram import BYTES, Histogram
from relay.delivery.hub import Hub

SLICE: Final = 500
"""Peers between two checkpoints: a fifth of a millisecond."""


class Snapshot(Struct, frozen=True):
    """Values at one moment. `depths` holds the bytes waiting in each outbox, `deepest` the most in one."""

    depths: Histogram
    deepest: int
    listeners: int
    process: Mapping[str, float]


async def take_snapshot(hub: Hub) -> Snapshot:
    """Look at every peer, a slice at a time."""
    depths, deepest, listeners = Histogram((0.0, *BYTES)), 0, 0
    everybody = tuple(hub.peers)
    for start in range(0, len(everybody), SLICE):
        peers = everybody[start : start + SLICE]
        listeners += sum([len(peer.listeners) for peer in peers])
        waiting = [size for peer in peers if (size := peer.outbox.size)]  # nearly nobody, nearly always
        depths.counts[0] += len(peers) - len(waiting)
        for size in waiting:
            depths.observe(size)
        deepest = max(deepest, *waiting, 0)
        await trio.lowlevel.checkpoint()
    return Snapshot(depths, deepest, listeners, read_process())


_PROC: Final = Path("/proc")
_STAT_START: Final = 19
"""The place of `starttime` in /proc/self/stat, counted from the field after the name (proc(5))."""


def read_process() -> Mapping[str, float]:
    """Return values by the names of their metrics. Fewer on other systems than Linux. Takes about 50 us."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "process_cpu_seconds_total": usage.ru_utime + usage.ru_stime,
        "process_max_fds": float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    }
    try:
        pages = (_PROC / "self/statm").read_text(encoding="ascii").split()
        found["process_resident_memory_bytes"] = float(int(pages[1]) * resource.getpagesize())
        found["process_virtual_memory_bytes"] = float(int(pages[0]) * resource.getpagesize())
        found["process_start_time_seconds"] = _STARTED
        # Linux says how many there are since 6.2 (proc(5)); before, it says 0.
        open_files = os.stat("/proc/self/fd").st_size  # noqa: PTH116 - this is not about a path
    except OSError:
        return found
    return {**found, "process_open_fds": float(open_files)} if open_files else found


def _read_start() -> float:
    try:
        after_name = (_PROC / "self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        boot = next(line for line in (_PROC / "stat").read_text(encoding="ascii").splitlines() if "btime" in line)
    except OSError:
        return 0.0
    return int(after_name[_STAT_START]) / os.sysconf("SC_CLK_TCK") + int(boot.split()[1])


_STARTED: Final = _read_start()
