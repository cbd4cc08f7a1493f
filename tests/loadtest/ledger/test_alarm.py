"""The pacer's timer: it rings once for each time it is set. How exactly it does is not asked here."""

import os

import pytest
from gevent.event import Event

from loadtest.ledger.run_time import Alarm

PATIENCE = 30
HOUR_NS = 3_600_000_000_000


def test_it_rings_once_when_it_was_set_last() -> None:
    """A later word replaces an earlier one, in the past is at once, and after a ring it can be set again."""
    rung, rings = Event(), list[int]()

    def ring() -> None:
        rings.append(1)
        rung.set()

    alarm = Alarm(ring)
    for after_ns in (1_000_000, -5):
        alarm.set(HOUR_NS)
        alarm.set(after_ns)
        assert rung.wait(PATIENCE)
        rung.clear()
    alarm.close()
    assert rings == [1, 1]


def test_a_closed_one_holds_nothing() -> None:
    """Its descriptor is given back."""
    Alarm(pytest.fail).close()  # the first one in a process makes gevent's loop, which keeps descriptors of its own
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not used
    alarm = Alarm(pytest.fail)
    alarm.set(1)
    alarm.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - counted, not used
