"""A worker's clock is held against the leader's again and again while a run lasts.

On the leader's own host there is one clock, and nothing to do.
"""

from collections.abc import Callable
from typing import Final

import gevent

from loadtest.ledger.clock import Offset, RunClock, measure_offset

EVERY_SECONDS: Final = 30.0
_BETWEEN_SECONDS: Final = 0.2
"""Between two questions, so that not all of them fall into one busy moment of ours."""
_SECOND_NS: Final = 1_000_000_000
PONG_DEADLINE: Final = 5.0


class Timekeeper:
    """Follows the leader's clock. `ping` asks it, and raises gevent.Timeout after `PONG_DEADLINE` seconds."""

    def __init__(
        self, clock: RunClock, ping: Callable[[], int], pause: Callable[[float], object] = gevent.sleep
    ) -> None:
        self._clock, self._ping, self._pause = clock, ping, pause

    def run(self) -> None:
        """Look again every half minute, until the greenlet is killed."""
        while self._clock.uncertainty_ns:  # none: it is the leader's own clock
            self._pause(EVERY_SECONDS)
            self.look_again()

    def look_again(self) -> None:
        """Measure, and go by that. A leader who does not answer leaves the clock as uncertain as the wait was long."""
        try:
            measured = measure_offset(self._ping, pause=lambda: self._pause(_BETWEEN_SECONDS))
        except gevent.Timeout:
            measured = Offset(self._clock.offset_ns, round(PONG_DEADLINE * _SECOND_NS))
        self._clock.follow(measured)
