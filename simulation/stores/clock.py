"""A clock that a test moves, and entropy that is the same in every run."""

import hashlib
from typing import Final

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
START_MS: Final = 1_767_312_000_000
"""2026-01-02T00:00:00Z, a day after everything of the cast of the tests was made."""


class ManualClock:
    """A `domain.ports.Clock`."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ms

    def advance(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now_ms += milliseconds


class DeterministicEntropy:
    """A `domain.ports.Entropy`: never the same bytes twice in a test, the same ones in every run of it."""

    def __init__(self) -> None:
        self._drawn = 0

    def __call__(self, count: int) -> bytes:
        """Return `count` bytes."""
        self._drawn += 1
        return hashlib.shake_256(f"entropy {self._drawn}".encode()).digest(count)
