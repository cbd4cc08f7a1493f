"""How hard a process of the generator works, from readings of its CPU time."""

from collections.abc import Sequence

import pytest

from loadtest.running.workers import Reading, cpu_max_percent, cpu_percent

SECOND = 1_000_000_000


def readings(percents: Sequence[float], *, judged: bool = True) -> list[Reading]:
    """One reading a second."""
    done = [sum(percents[:count]) / 100 * SECOND for count in range(len(percents) + 1)]
    return [(second * SECOND, round(cpu_ns), judged) for second, cpu_ns in enumerate(done)]


def test_the_most_is_that_of_any_five_seconds() -> None:
    """One busy second among idle ones is a fifth of its height; five in a row are all of it."""
    assert cpu_max_percent(readings([10, 10, 100, 10, 10, 10, 10])) == pytest.approx(28, abs=0.1)
    assert cpu_max_percent(readings([20] * 4 + [95] * 5 + [20] * 5)) == pytest.approx(95, abs=0.1)


def test_what_is_not_judged_does_not_count() -> None:
    """Work before the judged stage, as when everybody connects, is in the mean and not in the most."""
    connecting = readings([100] * 6, judged=False)
    assert cpu_max_percent(connecting) == 0
    assert cpu_percent(connecting) == pytest.approx(100, abs=0.1)
    calm = [(at_ns + 7 * SECOND, cpu_ns + 7 * SECOND, judged) for at_ns, cpu_ns, judged in readings([10] * 6)]
    assert cpu_max_percent([*connecting, *calm]) == pytest.approx(10, abs=0.1)


def test_a_short_judged_stage_is_seen() -> None:
    """Two seconds are less than a window, and still say what they say."""
    assert cpu_max_percent(readings([92, 96])) > 90
