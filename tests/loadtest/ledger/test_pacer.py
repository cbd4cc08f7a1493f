"""The pacer: it fires everything that is due, late or not. No assertion is about how fast this machine is."""

import gevent

from loadtest.ledger.run_time import Pacer, RunClock
from tests.loadtest.ledger.manual_clock import ManualClock

SECOND = 1_000_000_000
PATIENCE = 30


def test_a_standstill_skips_nothing() -> None:
    """After a second in which nothing could be fired, all of it is, each with the time at which it was due."""
    clock, fired = ManualClock(), list[int]()
    pacer = Pacer(clock, fired.append, even=True)
    pacer.set_rate(100.0)
    clock.shows_ns = SECOND
    for _ in range(10):
        pacer.fire_due()
    assert fired == [round((n + 0.5) * SECOND / 100) for n in range(100)]
    assert pacer.late_max_ns == SECOND - fired[0]


def test_sockets_get_their_turn_within_a_standstill() -> None:
    """What is overdue is fired in bursts, between which others run."""
    clock, fired = ManualClock(), list[int]()
    pacer = Pacer(clock, fired.append, even=True)
    pacer.set_rate(1_000.0)
    clock.shows_ns = SECOND
    pacer.fire_due()
    assert 0 < len(fired) < 100


def test_what_was_due_before_a_change_of_rate_is_fired() -> None:
    """A new rate, and a pause, hold from the moment they are set, also for a pacer that is behind."""
    clock, fired = ManualClock(), list[int]()
    pacer = Pacer(clock, fired.append, even=True)
    pacer.set_rate(10.0)
    clock.shows_ns = SECOND
    pacer.set_rate(0.0)
    clock.shows_ns = 2 * SECOND
    pacer.set_rate(20.0)
    clock.shows_ns = 3 * SECOND
    pacer.fire_due()
    assert [sum(start <= at < start + SECOND for at in fired) for start in (0, SECOND, 2 * SECOND)] == [10, 0, 20]


def test_it_runs_by_itself() -> None:
    """On its greenlet, with a real clock, it offers exactly what was due, and pauses until there is a rate."""
    clock, done, fired = RunClock(), gevent.event.Event(), list[int]()

    def fire(intended_ns: int) -> None:
        fired.append(intended_ns)
        if len(fired) == 60:
            done.set()

    pacer = Pacer(clock, fire, even=True)
    running = gevent.spawn(pacer.run)
    gevent.sleep(0)  # it waits for a rate now
    began_ns = clock.now_ns()
    pacer.set_rate(200.0, began_ns)
    pacer.set_rate(0.0, began_ns + SECOND // 5)
    pacer.set_rate(100.0, began_ns + SECOND // 5)
    pacer.set_rate(0.0, began_ns + SECOND * 2 // 5)
    assert done.wait(PATIENCE)
    gevent.sleep(0)  # it has seen that nothing more is due
    running.kill()
    assert len(fired) == 60
    assert all(intended_ns <= began_ns + SECOND * 2 // 5 for intended_ns in fired)
