"""Saying what a run does now and how long it still takes."""

import time
from collections.abc import Callable


class Progress:
    """Steps with planned seconds. What is left is corrected by how the steps so far kept to their plan."""

    def __init__(self, planned: float, say: Callable[[str], None]) -> None:
        """`planned` is the sum over all steps."""
        self._planned = max(planned, 1.0)
        self._done = 0.0
        self._started = time.monotonic()
        self._say = say

    def step(self, text: str, planned: float) -> None:
        """A step begins that takes about so many seconds; the ones before are done."""
        spent = time.monotonic() - self._started
        pace = spent / self._done if self._done else 1.0
        left = max(0.0, self._planned - self._done) * pace
        self._say(f"[{min(99, 100 * self._done / self._planned):3.0f} %, {left:4.0f} s left] {text}")
        self._done += planned
