"""When something should be sent: an open model, which never asks how the server is doing. Nanoseconds of run time.

Arrivals are drawn for a rate of one a second and stretched to the rate of the moment, so that a rate may change at any
time without a gap or a burst. Poisson by default, as of many people who know nothing of each other.
"""

import random
from typing import Final

_SECOND_NS: Final = 1_000_000_000


class Schedule:
    """The times of one sequence of sends. The same seed gives the same times."""

    def __init__(self, began_ns: int, *, seed: int = 0, even: bool = False) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - it spreads load
        self._even = even
        self._changes: list[tuple[int, float]] = []
        self._since_ns, self._rate = began_ns, 0.0
        self._turned = 0.0
        """How many were due, in the mean, up to `_since_ns`."""
        self._arrival = 0.5 if even else self._dice.expovariate(1.0)

    def change(self, at_ns: int, rate: float) -> None:
        """From then on, so many a second. Times of changes only go forward, and none is before what was taken."""
        if rate < 0:
            raise ValueError("a rate is not negative")
        self._changes.append((max(at_ns, self._since_ns), rate))

    def next_ns(self) -> int | None:
        """Return when the next one is due; None while the rate is 0."""
        while True:
            due_ns = self._due_ns()
            if not self._changes or (due_ns is not None and due_ns < self._changes[0][0]):
                return due_ns
            self._turn(*self._changes.pop(0))

    def take(self) -> None:
        """Cross off the one that `next_ns` named."""
        self._arrival += 1.0 if self._even else self._dice.expovariate(1.0)

    def _due_ns(self) -> int | None:
        if not self._rate:
            return None
        return self._since_ns + max(0, round((self._arrival - self._turned) / self._rate * _SECOND_NS))

    def _turn(self, at_ns: int, rate: float) -> None:
        at_ns = max(at_ns, self._since_ns)
        self._turned += self._rate * (at_ns - self._since_ns) / _SECOND_NS
        self._since_ns, self._rate = at_ns, rate
