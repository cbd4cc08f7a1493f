"""Fires at the times of a schedule, on a greenlet.

Each pick is charged from when it should have been, however late it is; how late it ever was is kept.
"""

from collections.abc import Callable
from typing import Final

import gevent
from gevent.event import Event

from loadtest.ledger.alarm import Alarm
from loadtest.ledger.clock import RunClock
from loadtest.ledger.schedule import Schedule

_BURST: Final = 32
"""Overdue picks fired in one go; then the sockets get their turn, or answers would wait behind questions."""


class Pacer:
    """Calls `fire(intended_ns)`, which must not wait. `offered` counts the calls."""

    def __init__(self, clock: RunClock, fire: Callable[[int], None], *, seed: int = 0, even: bool = False) -> None:
        self._clock = clock
        self._fire = fire
        self._schedule = Schedule(clock.now_ns(), seed=seed, even=even)
        self._stirred = Event()
        self.offered = 0
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
                    gevent.sleep(0)
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
            self.offered += 1
            self.late_max_ns = max(self.late_max_ns, late_ns)
            self._fire(due_ns)
