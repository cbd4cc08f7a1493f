"""When something is sent: an open model, which never asks how the server is doing, and the pacer that follows it.

Arrivals are drawn for a rate of one a second and stretched to the rate of the moment, so that a rate may change at any
time without a gap or a burst. Poisson by default, as of many people who know nothing of each other.
"""

import ctypes
import os
import random
import time
from collections.abc import Callable
from typing import Final

import gevent
from gevent.event import Event

from loadtest.ledger.clock import SECOND_NS, RunClock

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
