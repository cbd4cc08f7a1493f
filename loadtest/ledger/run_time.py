"""The time of a run, the same instant on every worker within a stated uncertainty, and when in it something is sent.

The model is open: it never asks how the server is doing. Arrivals are drawn for a rate of one a second and stretched to
the rate of the moment, so that a rate may change at any time without a gap or a burst. Poisson by default, as of many
people who know nothing of each other. All times are nanoseconds.
"""

import ctypes
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import gevent
from gevent.event import Event

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


_LOOP_READ: Final = 1
# Overdue sends fired in one go; then the sockets get their turn, or answers would wait behind questions.
_BURST: Final = 32
# `struct itimerspec`: seconds and nanoseconds of the interval, then of the first time.
_Setting: Final = ctypes.c_long * 4
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Schedule:
    """The times, in nanoseconds of run time, of one sequence of sends. The same seed gives the same times."""

    def __init__(self, began_ns: int, *, seed: int = 0, even: bool = False) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - it spreads load
        self._even = even
        self._changes: list[tuple[int, float]] = []
        self._since_ns, self._rate = began_ns, 0.0
        self._turned = 0.0  # how many were due, in the mean, up to `_since_ns`
        self._arrival = 0.5 if even else self._dice.expovariate(1.0)

    def change(self, at_ns: int, rate: float) -> None:
        """From then on, so many a second. Times of changes only go forward, and none is before what was taken."""
        if rate < 0:
            raise ValueError("a rate is not negative")
        self._changes.append((max(at_ns, self._since_ns), rate))

    def next_ns(self) -> int | None:
        """Return when the next one is due; None while the rate is 0."""
        while True:
            due_ns = None
            if self._rate:
                due_ns = self._since_ns + max(0, round((self._arrival - self._turned) / self._rate * SECOND_NS))
            if not self._changes or (due_ns is not None and due_ns < self._changes[0][0]):
                return due_ns
            at_ns, rate = self._changes.pop(0)
            at_ns = max(at_ns, self._since_ns)
            self._turned += self._rate * (at_ns - self._since_ns) / SECOND_NS
            self._since_ns, self._rate = at_ns, rate

    def take(self) -> None:
        """Cross off the one that `next_ns` named."""
        self._arrival += 1.0 if self._even else self._dice.expovariate(1.0)


class Pacer:
    """Calls `fire(intended_ns)`, which must not wait, for all that is due, and keeps how late it ever was."""

    def __init__(self, clock: RunClock, fire: Callable[[int], None], *, seed: int = 0, even: bool = False) -> None:
        self._clock = clock
        self._fire = fire
        self._schedule = Schedule(clock.now_ns(), seed=seed, even=even)
        self._stirred = Event()
        self.late_max_ns = 0

    def set_rate(self, per_second: float, at_ns: int | None = None) -> None:
        """From now, or from `at_ns` of run time, on: so many a second in the mean. 0 pauses."""
        self._schedule.change(self._clock.now_ns() if at_ns is None else at_ns, per_second)
        self._stirred.set()

    def run(self) -> None:
        """Fire until the greenlet is killed."""
        alarm = Alarm(self._stirred.set)
        try:
            while True:
                self._stirred.clear()
                due_ns = self._schedule.next_ns()
                wait_ns = None if due_ns is None else due_ns - self._clock.now_ns()
                if wait_ns is None or wait_ns > 0:
                    if wait_ns is not None:
                        alarm.set(wait_ns)
                    self._stirred.wait()  # for the alarm or a new rate; without a rate there is only that
                else:
                    self.fire_due()
                    gevent.sleep(0)  # the answers to what was just sent are to be read before more is
        finally:
            alarm.close()

    def fire_due(self) -> None:
        """Fire what is due by now, up to a burst."""
        for _ in range(_BURST):
            due_ns = self._schedule.next_ns()
            late_ns = -1 if due_ns is None else self._clock.now_ns() - due_ns
            if due_ns is None or late_ns < 0:
                return
            self._schedule.take()
            self.late_max_ns = max(self.late_max_ns, late_ns)
            self._fire(due_ns)


class Alarm:
    """A timer of the kernel (timerfd_create(2)): calls `ring`, which must not wait, once after each `set`.

    gevent's loop counts in milliseconds and rounds up: every send would be a millisecond late, and every latency
    longer.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "no timer can be made")
        self._watcher = gevent.get_hub().loop.io(self._timer, _LOOP_READ)
        self._watcher.start(self._rang)

    def set(self, after_ns: int) -> None:
        """Ring once after so many nanoseconds, at least one; what was set before is forgotten."""
        setting = _Setting(0, 0, *divmod(max(1, after_ns), SECOND_NS))
        if _libc.timerfd_settime(self._timer, 0, setting, None) < 0:
            raise OSError(ctypes.get_errno(), "the timer cannot be set")

    def close(self) -> None:
        """Ring no more."""
        self._watcher.stop()
        self._watcher.close()
        os.close(self._timer)

    def _rang(self) -> None:
        try:
            os.read(self._timer, 8)  # how often it went off, which has to be taken away
        except BlockingIOError:
            return  # it was set anew meanwhile
        self._ring()
