"""Clocks of workers: what is measured of the conductor's, and how wrong it may be. No test waits or times anything."""

import time
from collections.abc import Callable
from itertools import count

import pytest

from loadtest.ledger.run_time import Offset, RunClock, boot_id, measure_offset, open_clock

AHEAD_NS = 5_000_000_000


def ahead(by_ns: int) -> Callable[[], int]:
    """A conductor whose clock is ahead, and at once at hand."""
    return lambda: time.monotonic_ns() + by_ns


@pytest.mark.parametrize("by_ns", [AHEAD_NS, -AHEAD_NS, 0])
def test_the_offset_is_right_within_its_uncertainty(by_ns: int) -> None:
    """The true offset lies within the uncertainty around the measured one."""
    measured = measure_offset(ahead(by_ns))
    assert abs(measured.offset_ns - by_ns) <= measured.uncertainty_ns


def test_the_quickest_answer_counts() -> None:
    """One quick answer among slow ones decides, so that a busy moment does not spoil the measurement."""
    asked = count()

    def mostly_slow() -> int:
        if next(asked) != 3:
            end_ns = time.monotonic_ns() + 2_000_000
            while time.monotonic_ns() < end_ns:
                pass
        return time.monotonic_ns()

    slow = measure_offset(mostly_slow, rounds=3)
    quick = measure_offset(mostly_slow, rounds=4)
    assert quick.uncertainty_ns < slow.uncertainty_ns


def test_one_host_has_one_clock() -> None:
    """A worker on the conductor's host goes by the host's clock, with nothing added and nothing uncertain."""
    clock = open_clock(boot_id(), ahead(0))
    before_ns, now_ns, after_ns = time.monotonic_ns(), clock.now_ns(), time.monotonic_ns()
    assert before_ns <= now_ns <= after_ns
    assert clock.uncertainty_ns == 0


@pytest.mark.parametrize("boot", ["00000000-0000-0000-0000-000000000000", boot_id()])
def test_another_clock_is_followed(boot: str) -> None:
    """On another host, or in another time namespace of the same, the measured offset is added and is uncertain."""
    clock = open_clock(boot, ahead(AHEAD_NS))
    wrong_ns = clock.uncertainty_ns
    before_ns, now_ns, after_ns = time.monotonic_ns(), clock.now_ns(), time.monotonic_ns()
    assert before_ns - wrong_ns <= now_ns - AHEAD_NS <= after_ns + wrong_ns
    assert wrong_ns > 0


def test_drift_makes_a_clock_uncertain() -> None:
    """What two measurements differ by was an error in between, and stays on record."""
    clock = RunClock(1_000, 10)
    clock.follow(Offset(1_500, 20))
    assert clock.uncertainty_ns == 520
    clock.follow(Offset(1_500, 20))
    assert clock.uncertainty_ns == 520
