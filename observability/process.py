"""What the operating system says about this process, as metrics. Fewer on other systems than Linux."""

import os
import resource
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from observability.definition import Definition, Kind

VERSION: Final = version("varde-server")
_PROC: Final = Path("/proc")
_STAT_START: Final = 19
"""The place of `starttime` in /proc/self/stat, counted from the field after the name (proc(5))."""


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _pages(field: int) -> float | None:
    try:
        pages = (_PROC / "self/statm").read_text(encoding="ascii").split()
    except OSError:
        return None
    return float(int(pages[field]) * resource.getpagesize())


def _open_files() -> float | None:
    try:
        # Linux says how many there are since 6.2 (proc(5)); before, it says 0.
        return float(os.stat("/proc/self/fd").st_size) or None  # noqa: PTH116 - this is not about a path
    except OSError:
        return None


def _most_files() -> float:
    return float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _read_start() -> float | None:
    try:
        after_name = (_PROC / "self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        boot = next(line for line in (_PROC / "stat").read_text(encoding="ascii").splitlines() if "btime" in line)
    except OSError:
        return None
    return int(after_name[_STAT_START]) / os.sysconf("SC_CLK_TCK") + int(boot.split()[1])


_STARTED: Final = _read_start()

PROCESS: Final[tuple[Definition[...], ...]] = tuple(
    Definition(name, kind, None, meaning, advice, lambda *_, read=read: read())
    for name, kind, meaning, advice, read in (
        (
            "process_cpu_seconds_total",
            Kind.COUNTER,
            "Processor time of the process, user and system.",
            "One process uses one core: at a rate of 0.7, add another.",
            _cpu,
        ),
        (
            "process_resident_memory_bytes",
            Kind.GAUGE,
            "Memory of the process that is in RAM.",
            "In a relay it follows the connections; what stays after they have ended comes back with the next thaw.",
            partial(_pages, 1),
        ),
        ("process_virtual_memory_bytes", Kind.GAUGE, "Address space of the process.", "Nothing.", partial(_pages, 0)),
        (
            "process_open_fds",
            Kind.GAUGE,
            "Open files and sockets. Linux 6.2 or newer.",
            "Stay well below the next one: at the limit, no connection is accepted.",
            _open_files,
        ),
        (
            "process_max_fds",
            Kind.GAUGE,
            "Files and sockets the process may open.",
            "For a relay, at least VARDE_RELAY_CONNECTIONS and 3,000 more.",
            _most_files,
        ),
        (
            "process_start_time_seconds",
            Kind.GAUGE,
            "When the process started, in seconds since 1970.",
            "For a restart that nobody ordered, see the supervisor's log.",
            lambda: _STARTED,
        ),
    )
)
