"""CPU and memory of processes and their children, from /proc."""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_MIB: Final = 1 << 20
_GENERATIONS: Final = 8
"""Children of children that are looked for; what makes itself deeper trees is not ours."""


class Usage(Struct, frozen=True):
    """A process with its children. `cpu_seconds` grows; `rss_mib` is what is its own, and what is shared once."""

    cpu_seconds: float
    rss_mib: float


def usage_of(pid: int) -> Usage | None:
    """Look at a process and what descends from it. None when it is gone."""
    if (own := _one(pid)) is None:
        return None
    found = [own, *filter(None, map(_one, _descendants(pid)))]
    private = sum(resident - shared for _, resident, shared in found)
    shared = max(shared for _, _, shared in found)
    return Usage(sum(ticks for ticks, _, _ in found) / _TICKS, (private + shared) * _PAGE / _MIB)


class Processes:
    """Named processes, looked at again and again. `pids` may change meanwhile, as when a node is started again."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._before: dict[int, tuple[float, float]] = {}

    def sample(self) -> dict[str, float]:
        """Return `<process>.cpu_percent` of one core since the last sample, and `<process>.rss_mib`."""
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
        return sampled


def _one(pid: int) -> tuple[int, int, int] | None:
    """Return ticks of CPU (with those of children that were waited for), and pages resident and shared."""
    try:
        # The second field is the program's name in parentheses, which may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        pages = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return None
    return sum(map(int, fields[11:15])), int(pages[1]), int(pages[2])


def _descendants(pid: int, generation: int = 0) -> Iterator[int]:
    try:
        text = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:
        return
    for child in map(int, text.split()):
        yield child
        if generation < _GENERATIONS:
            yield from _descendants(child, generation + 1)
