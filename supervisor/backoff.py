"""How long to wait before a program is started again: longer each time it fails, never longer than a bound.

It reads no clock and no random source: both come from the caller, so that a test can repeat itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

SECONDS: Final = 1.0


@dataclass(slots=True)
class Backoff:
    """Doubling delays from `first` to `most` seconds, of which a random half is taken off.

    A program that lived for `healthy` seconds is forgiven what was before: the next delay is the first again.
    """

    random: Callable[[], float]
    first: float = 0.2 * SECONDS
    most: float = 15 * SECONDS
    healthy: float = 20 * SECONDS
    _failures: int = field(default=0, init=False)

    def next_delay(self, lived: float) -> float:
        """Count one failure of a program that lived that many seconds, and return the seconds to wait."""
        if lived >= self.healthy:
            self._failures = 0
        # The exponent is bounded, too: a float overflows after a thousand failures.
        delay = min(self.most, self.first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return delay * (1 - self.random() / 2)
