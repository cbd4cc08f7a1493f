"""A clock that a test moves, and entropy that is the same in every run."""

import hashlib
from typing import Final

from tests.cast import BIRTH_MS

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


class ManualClock:
    """A `domain.ports.Clock`, a day after the cast was made."""

    def __init__(self, now_ms: int = BIRTH_MS + DAY) -> None:
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
