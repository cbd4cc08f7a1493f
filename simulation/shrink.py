"""Delta debugging: the fewest steps with which a seed still fails (Zeller and Hildebrandt's ddmin)."""

from collections.abc import Callable, Sequence

from simulation.options import Step


def shrink(steps: Sequence[Step], fails: Callable[[Sequence[Step]], bool], most: int = 60) -> Sequence[Step]:
    """Return fewer steps that still fail, after at most so many tries.

    The same seed without a step is another run: latencies are drawn in another order. So a try that passes may hide a
    bug that is there, and the result is small, but not always the smallest.
    """
    parts = 2
    while len(steps) > 1 and most > 0:
        size = -(-len(steps) // parts)
        for start in range(0, len(steps), size):
            most -= 1
            without = [*steps[:start], *steps[start + size :]]
            if fails(without):
                steps, parts = without, max(parts - 1, 2)
                break
            if not most:
                return steps
        else:
            if size == 1:
                return steps
            parts = min(2 * parts, len(steps))
    return steps
