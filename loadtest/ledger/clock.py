"""The time of a run: the same instant on every worker, within a stated uncertainty. Nanoseconds."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_ROUNDS: Final = 16


class Offset(Struct, frozen=True):
    """How far the conductor's clock is ahead of ours, and how wrong that may be at most."""

    offset_ns: int
    uncertainty_ns: int


class RunClock:
    """Run time as this process knows it. On the conductor's own host there is nothing to add."""

    def __init__(self, offset_ns: int = 0, uncertainty_ns: int = 0) -> None:
        self.offset_ns = offset_ns
        """What is added to this host's monotonic clock at present."""
        self.uncertainty_ns = uncertainty_ns
        """The most that any reading so far may have been wrong by."""

    def now_ns(self) -> int:
        """Return the time of the run."""
        return time.monotonic_ns() + self.offset_ns

    def follow(self, measured: Offset) -> None:
        """Go by a newer measurement. What the clocks drifted since the last one was an error in between."""
        drifted = abs(measured.offset_ns - self.offset_ns)
        self.offset_ns = measured.offset_ns
        self.uncertainty_ns = max(self.uncertainty_ns, measured.uncertainty_ns + drifted)


def measure_offset(
    ping: Callable[[], int], *, rounds: int = _ROUNDS, pause: Callable[[], object] = lambda: None
) -> Offset:
    """Ask the conductor for its run time several times and go by the quickest answer, like NTP (RFC 5905, section 8).

    `ping` returns the other clock's nanoseconds. The other clock was read somewhere within the round trip, so half of
    it bounds the error. Between two questions it pauses.
    """
    best = _ask(ping)
    for _ in range(rounds - 1):
        pause()
        best = min(best, _ask(ping), key=lambda answer: answer.uncertainty_ns)
    return best


def _ask(ping: Callable[[], int]) -> Offset:
    asked_ns = time.monotonic_ns()
    theirs_ns = ping()
    answered_ns = time.monotonic_ns()
    return Offset(theirs_ns - (asked_ns + answered_ns) // 2, (answered_ns - asked_ns + 1) // 2)


def boot_id() -> str:
    """Return what tells two hosts, and two boots of one, apart. Processes with the same one share a monotonic clock."""
    return _BOOT.read_text().strip()


def open_clock(conductors_boot_id: str, ping: Callable[[], int]) -> RunClock:
    """Return the clock of a worker: the host's own where it is the conductor's, otherwise one that was measured.

    A time namespace shifts the clock within one host; then the two differ by more than the measurement may be wrong.
    """
    measured = measure_offset(ping)
    if conductors_boot_id == boot_id() and abs(measured.offset_ns) <= measured.uncertainty_ns:
        return RunClock()
    return RunClock(measured.offset_ns, measured.uncertainty_ns)
