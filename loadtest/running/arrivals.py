"""When each new user comes: one after the other, at the stage's pace.

Locust starts users in bursts, once a second. A crowd does not come in bursts, and the relay would be measured with a
queue that no crowd makes.
"""

import time

import gevent


class Arrivals:
    """Turns at even distances. The pace may change at any time."""

    def __init__(self) -> None:
        self._distance = 0.0
        self._next = 0.0

    def set_pace(self, per_second: float) -> None:
        """So many users come to this worker each second from now on."""
        self._distance = 1.0 / per_second if per_second > 0 else 0.0
        self._next = time.monotonic()

    def wait_turn(self) -> None:
        """Wait until it is the caller's turn: never longer than all who wait before it take."""
        now = time.monotonic()
        turn = max(self._next, now)
        self._next = turn + self._distance
        if turn > now:
            gevent.sleep(turn - now)
