"""What the kernel knows of a process and everything it started: CPU time and memory. And which core it may use."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_NANOSECOND: Final = 1e-9


class Cores(Struct, frozen=True):
    """Where the two sides run: each on a core of its own, or, on a machine with one core, both unpinned on it."""

    server: int | None
    generator: int | None


def choose_cores() -> Cores:
    """Return the last two cores this process may use: the first ones serve most interrupts."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[-1], allowed[-2]) if len(allowed) > 1 else Cores(None, None)


def pin(pid: int, core: int | None) -> None:
    """Let a process, and what it starts from now on, run on this core only. Nothing happens with None."""
    if core is not None:
        for task in tasks_of(pid):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(task, {core})


def tasks_of(pid: int) -> list[int]:
    """Return the ids of the threads of a process; none when it is gone."""
    try:
        return [int(name) for name in os.listdir(_PROC / str(pid) / "task")]  # noqa: PTH208 - read often, names only
    except FileNotFoundError:
        return []


def processes_of(pid: int) -> list[int]:
    """Return a process and all its descendants that are alive."""
    # Looked up by parent: not every kernel is built with the lists of children.
    parents = {each: parent for each in _everybody() if (parent := _parent_of(each)) is not None}
    found = [pid]
    for known in found:
        found += [each for each, parent in parents.items() if parent == known]
    return found


def _everybody() -> list[int]:
    return [int(name) for name in os.listdir(_PROC) if name.isdigit()]  # noqa: PTH208 - read often, names only


def _parent_of(pid: int) -> int | None:
    with suppress(OSError):
        return int(_fields_of(pid)[1])
    return None


def _fields_of(pid: int) -> list[str]:
    """Return what stands behind the name in stat, proc(5) field 3 first. The name in brackets may hold blanks."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process and its descendants have used so far, user and system together.

    Threads are counted in nanoseconds (schedstat) where the kernel offers it, and then only those that still run;
    otherwise in clock ticks (10 ms).
    """
    return sum(map(_cpu_seconds_of, processes_of(pid)))


def _cpu_seconds_of(pid: int) -> float:
    try:
        return sum(_nanoseconds(pid, task) for task in tasks_of(pid)) * _NANOSECOND or _ticks(pid) / _TICKS
    except OSError:
        return 0.0  # it ended meanwhile


def _nanoseconds(pid: int, task: int) -> int:
    with suppress(FileNotFoundError):
        return int((_PROC / str(pid) / "task" / str(task) / "schedstat").read_text().split()[0])
    return 0


def _ticks(pid: int) -> int:
    fields = _fields_of(pid)
    return int(fields[11]) + int(fields[12])


def rss_kib(pid: int) -> int:
    """Return the KiB of memory that a process and its descendants hold, what they share counted once for each."""
    return sum(map(_rss_kib_of, processes_of(pid)))


def _rss_kib_of(pid: int) -> int:
    # smaps_rollup counts pages; the counters in statm may lag behind by some for each thread.
    with suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1])
    with suppress(OSError):
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    return 0
