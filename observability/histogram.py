"""A histogram with fixed buckets in plain ints, cheap enough for the hot path."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

SECONDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""From what a quiet loop takes to the longest deadline of the node."""
COUNTS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
"""Up to twice what a batch holds."""
BYTES: Final = (256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0)
"""Up to the largest batch; 1 MiB is a full outbox."""


class Histogram:
    """A histogram. `counts` has one more item than `bounds`, for values larger than all of them."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` are the upper ends of the buckets, each with it, in rising order."""
        self.bounds = list(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        """The sum of all that was observed."""

    def observe(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def __len__(self) -> int:
        return sum(self.counts)

    @property
    def buckets(self) -> list[tuple[str, int]]:
        """What Prometheus asks for: each bound as text, with how many were not larger."""
        bounds = [*(f"{bound:g}" if bound < 1_000 else f"{bound:.0f}" for bound in self.bounds), "+Inf"]  # noqa: PLR2004 - from where on :g would round
        return list(zip(bounds, accumulate(self.counts), strict=True))
