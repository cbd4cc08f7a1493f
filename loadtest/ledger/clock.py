"""The time of a run: the same instant on every worker, within a stated uncertainty. Nanoseconds."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import gevent

PING_SECONDS: Final = 5.0  # that an answer is waited for
EVERY_SECONDS: Final = 30.0
SECOND_NS: Final = 1_000_000_000
_BETWEEN_SECONDS: Final = 0.2  # between two questions, so that not all of them fall into one busy moment of ours
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_ROUNDS: Final = 16  # one quick answer decides: among so many, one is not held up


class Offset(NamedTuple):
    """How far the master's clock is ahead of ours, and how wrong that may be at most."""

    offset_ns: int
    uncertainty_ns: int


class RunClock:
    """Run time as this process knows it. On the master's own host there is nothing to add."""

    def __init__(self, offset_ns: int = 0, uncertainty_ns: int = 0) -> None:
        self.offset_ns = offset_ns  # what is added to this host's monotonic clock at present
        self.uncertainty_ns = uncertainty_ns  # the most that any reading so far may have been wrong by

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
    """Ask the master for its run time several times and go by the quickest answer, like NTP (RFC 5905, section 8).

    `ping` returns the other clock's nanoseconds. That was read somewhere within the round trip, so half of it bounds
    the error.
    """
    best: Offset | None = None
    for round_ in range(rounds):
        if round_:
            pause()
        asked_ns, theirs_ns, answered_ns = time.monotonic_ns(), ping(), time.monotonic_ns()
        found = Offset(theirs_ns - (asked_ns + answered_ns) // 2, (answered_ns - asked_ns + 1) // 2)
        best = found if best is None or found.uncertainty_ns < best.uncertainty_ns else best
    assert best is not None
    return best


def boot_id() -> str:
    """Return what tells two hosts, and two boots of one, apart. Processes with the same one share a monotonic clock."""
    return _BOOT.read_text().strip()


def open_clock(masters_boot_id: str, ping: Callable[[], int]) -> RunClock:
    """Return a worker's clock: its host's own if that is the master's, unless a time namespace shifts it."""
    measured = measure_offset(ping)
    same = masters_boot_id == boot_id() and abs(measured.offset_ns) <= measured.uncertainty_ns
    return RunClock() if same else RunClock(*measured)


def follow_clock(clock: RunClock, ping: Callable[[], int], pause: Callable[[float], object] = gevent.sleep) -> None:
    """Hold a worker's clock against the master's every half minute, for ever, unless they are the same clock."""
    while clock.uncertainty_ns:
        pause(EVERY_SECONDS)
        try:
            measured = measure_offset(ping, pause=lambda: pause(_BETWEEN_SECONDS))
        except gevent.Timeout:  # nobody knows how far apart they are: as uncertain as the wait was long
            measured = Offset(clock.offset_ns, round(PING_SECONDS * SECOND_NS))
        clock.follow(measured)
