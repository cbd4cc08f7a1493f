"""How hard a process of the generator works, from readings of its CPU time."""

from collections.abc import Sequence

import pytest

from loadtest.running.workers import CpuUsage

SECOND = 1_000_000_000


def feed(usage: CpuUsage, percents: Sequence[float], since: int = 0) -> int:
    """One reading a second; returns the last one's second."""
    cpu = 0.0
    for second, percent in enumerate((0.0, *percents), since):
        cpu += percent / 100 * SECOND
        usage.add(second * SECOND, round(cpu))
    return since + len(percents)


def test_the_most_is_that_of_any_five_seconds() -> None:
    """One busy second among idle ones is a fifth of its height; five in a row are all of it."""
    usage = CpuUsage()
    usage.begin_stage(judged=True)
    feed(usage, [10, 10, 100, 10, 10, 10, 10])
    assert usage.max_percent == pytest.approx(28, abs=0.1)
    steady = CpuUsage()
    steady.begin_stage(judged=True)
    feed(steady, [20] * 4 + [95] * 5 + [20] * 5)
    assert steady.max_percent == pytest.approx(95, abs=0.1)


def test_what_is_not_judged_does_not_count() -> None:
    """Work before the judged stage, as when everybody connects, is in the mean and not in the most."""
    usage = CpuUsage()
    usage.begin_stage(judged=False)
    feed(usage, [100] * 6)
    assert usage.max_percent == 0
    assert usage.mean_percent == pytest.approx(100, abs=0.1)


def test_a_short_judged_stage_is_seen() -> None:
    """Two seconds are less than a window, and still say what they say."""
    usage = CpuUsage()
    usage.begin_stage(judged=True)
    feed(usage, [92, 96])
    assert usage.max_percent > 90
