"""How hard a process of the generator works: percent of one core over windows of five seconds."""

from collections import deque
from typing import Final

WINDOW_NS: Final = 5_000_000_000
_HUNDRED: Final = 100.0
_WHOLE_NS: Final = 4_500_000_000
"""Readings come once a second, and not to the millisecond: from here on a window counts as whole."""


class Effort:
    """Fed with the CPU time of a process as it grows; windows that reach back before `begin` count for nothing."""

    def __init__(self) -> None:
        self._readings: deque[tuple[int, int]] = deque()
        self._first: tuple[int, int] | None = None
        self._last: tuple[int, int] | None = None
        self._judging = False
        self._most: float | None = None
        self.now_percent = 0.0
        """Between the last two readings."""

    @property
    def max_percent(self) -> float:
        """Over the judged stages: of whole windows, or of all there is when they were shorter than one."""
        if self._most is not None or not self._readings:
            return self._most or 0.0
        return _percent(self._readings[0], self._readings[-1])

    @property
    def mean_percent(self) -> float:
        """Since the first reading of the run."""
        if self._first is None or self._last is None:
            return 0.0
        return _percent(self._first, self._last)

    def begin(self, *, judged: bool) -> None:
        """A stage begins. Judged stages in a row are one."""
        if judged and not self._judging:
            self._readings.clear()
        self._judging = judged

    def add(self, at_ns: int, cpu_ns: int) -> None:
        """One reading of the CPU time, of all cores together."""
        reading = (at_ns, cpu_ns)
        self._first = self._first or reading
        if self._last is not None:
            self.now_percent = _percent(self._last, reading)
        self._last = reading
        if self._judging:
            self._judge(reading)

    def _judge(self, reading: tuple[int, int]) -> None:
        self._readings.append(reading)
        while len(self._readings) > 1 and reading[0] - self._readings[1][0] >= WINDOW_NS:
            self._readings.popleft()
        if reading[0] - self._readings[0][0] >= _WHOLE_NS:
            self._most = max(self._most or 0.0, _percent(self._readings[0], reading))


def _percent(since: tuple[int, int], until: tuple[int, int]) -> float:
    took = until[0] - since[0]
    return _HUNDRED * (until[1] - since[1]) / took if took > 0 else 0.0
