"""When garbage is looked for: what is set up and put back, what is frozen and what is still found."""

import gc
from collections.abc import Iterator
from weakref import ref

import pytest

from relay.garbage_collection import GONE_LEAST, QUIET_TICKS, RAMP, STORM, THAW_IN_STORM, THRESHOLDS, CollectionPolicy
from relay.metrics.counters import Metrics


@pytest.fixture(autouse=True)
def freeze_again() -> Iterator[None]:
    """Leave the collector as the tests that follow want it: see tests/conftest.py."""
    yield
    gc.freeze()


class Loop:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.me = self


def leave_a_cycle() -> "ref[Loop]":
    """Make one and forget it."""
    return ref(Loop())


def update_for_long(policy: CollectionPolicy, arrived: int, connected: int) -> None:
    """Let it be quiet for as long as a thaw waits."""
    for _ in range(QUIET_TICKS + 1):
        policy.update(arrived, connected)


@pytest.fixture
def metrics() -> Metrics:
    """Nothing has been counted."""
    return Metrics()


@pytest.fixture
def policy(metrics: Metrics) -> Iterator[CollectionPolicy]:
    """It rules for the length of a test."""
    policy = CollectionPolicy(metrics)
    with policy.applied():
        yield policy


def test_everything_is_put_back(metrics: Metrics) -> None:
    """A node that has ended leaves Python's collector as it was."""
    gc.unfreeze()  # what the tests have frozen themselves
    before = gc.get_threshold(), list(gc.callbacks), gc.get_freeze_count()
    with CollectionPolicy(metrics).applied():
        assert gc.get_threshold() == THRESHOLDS
        assert len(gc.callbacks) == len(before[1]) + 1
        assert gc.get_freeze_count() > before[2]
    assert (gc.get_threshold(), list(gc.callbacks), gc.get_freeze_count()) == before


def test_every_pause_is_measured(policy: CollectionPolicy, metrics: Metrics) -> None:
    """By generation, and no longer when the node has ended."""
    before = [len(pauses) for pauses in metrics.pauses]
    for generation in range(3):
        gc.collect(generation)
    assert all(len(pauses) > count for pauses, count in zip(metrics.pauses, before, strict=True))


def test_a_ramp_is_frozen(policy: CollectionPolicy, metrics: Metrics) -> None:
    """Once for every so many that came, and not while nobody comes."""
    for arrived in range(0, 4 * RAMP + 1, RAMP // 2):
        policy.update(arrived, arrived)
    assert (metrics.freezes, metrics.thaws) == (4, 0)
    for _ in range(100):
        policy.update(4 * RAMP, 4 * RAMP)
    assert metrics.freezes == 4


def test_what_is_frozen_is_not_looked_through(policy: CollectionPolicy) -> None:
    """Which is the point: what lives at the time of a freeze costs no pause later."""
    connections = [Loop() for _ in range(RAMP)]
    assert any(each is connections[0] for each in gc.get_objects())
    policy.update(RAMP, RAMP)
    assert not any(each is connections[0] for each in gc.get_objects())


def test_garbage_is_still_found(policy: CollectionPolicy) -> None:
    """Cycles that were made after a freeze, or were garbage before it, are gone."""
    before = leave_a_cycle()
    policy.update(RAMP, RAMP)
    assert before() is None
    after = leave_a_cycle()
    gc.collect()
    assert after() is None


def test_connections_that_have_gone_are_found_in_the_end(policy: CollectionPolicy, metrics: Metrics) -> None:
    """A cycle that was frozen while it was needed is found when as many have gone as are there."""
    connection = Loop()
    gone = ref(connection)
    policy.update(GONE_LEAST, GONE_LEAST)
    del connection
    gc.collect()
    update_for_long(policy, GONE_LEAST, 1)
    assert gone() is not None
    update_for_long(policy, GONE_LEAST, 0)
    assert gone() is None
    assert metrics.thaws == 1


def test_a_thaw_waits_for_a_storm_to_pass(policy: CollectionPolicy, metrics: Metrics) -> None:
    """When all have dropped at once and come back, they come first; but it does not wait for ever."""
    many = 5 * GONE_LEAST
    policy.update(many, many)
    policy.update(many, 0)
    for back in range(0, many // 2 + 1, many // 10):
        policy.update(many + back, back)
    assert metrics.thaws == 0
    update_for_long(policy, many + many // 2, many // 2)
    assert metrics.thaws == 1


def test_a_storm_that_does_not_pass_is_not_waited_for(policy: CollectionPolicy, metrics: Metrics) -> None:
    """Where connections are always short, what they leave is found as well."""
    for arrived in range(0, (THAW_IN_STORM + 1) * GONE_LEAST + 1, 10 * STORM):
        policy.update(arrived, 10 * STORM)
    assert metrics.thaws == 1


def test_a_long_pause_is_followed_by_a_freeze(
    policy: CollectionPolicy, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that there is much to look through besides connections."""
    monkeypatch.setattr("relay.garbage_collection.SLOW", 3_600.0)
    gc.collect()
    policy.update(0, 0)
    assert metrics.freezes == 0
    monkeypatch.setattr("relay.garbage_collection.SLOW", 0.0)
    gc.collect()
    monkeypatch.setattr("relay.garbage_collection.SLOW", 3_600.0)
    for _ in range(3):
        policy.update(0, 0)
    assert metrics.freezes == 1
