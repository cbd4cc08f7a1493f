"""What the operating system says about this process, under the names that every dashboard knows."""

import os
import resource
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_STAT_START: Final = 19
"""The place of `starttime` in /proc/self/stat, counted from the field after the name (proc(5))."""


def read_process() -> Mapping[str, float]:
    """Return what can be had by the names of the metrics; elsewhere than on Linux, that is less. About 50 us."""
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
VERSION: Final = version("varde-server")
"""Of the program that runs."""
