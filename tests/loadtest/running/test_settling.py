"""When a run stops waiting for what is under way."""

from loadtest.ledger.reports import StageSums
from loadtest.running.messages import Heartbeat
from loadtest.running.run import QUIET_SECONDS, Settling

ALL, ALL_BUT_ONE = StageSums(due=2, received=2), StageSums(due=2, received=1)
SILENCE = StageSums()


def seconds_waited(*away: int, pending: int = 0) -> int:
    """How many silent seconds one is waited for that was due; `away` is told in the first ones, then 0."""
    settling, said = Settling(), [*away, *[0] * 10]
    return [settling.is_over(SILENCE, ALL_BUT_ONE, [Heartbeat(away=each)], pending) for each in said].index(True) + 1


def test_a_run_is_over_when_all_has_come() -> None:
    """Not before every send was answered, by whichever worker."""
    assert Settling().is_over(SILENCE, ALL, [Heartbeat()], 0)
    assert not Settling().is_over(SILENCE, ALL, [Heartbeat()], 1)
    assert not Settling().is_over(SILENCE, ALL, [Heartbeat(), Heartbeat(waiting=1)], 0)


def test_silence_ends_a_run_that_lacks_something() -> None:
    """What has not come after some seconds in which nothing came at all will not come."""
    assert seconds_waited() == seconds_waited(pending=1) == QUIET_SECONDS


def test_whoever_was_cut_off_is_waited_for() -> None:
    """While a user is in a pause before its next try, silence says nothing: what is due to it comes afterwards."""
    assert seconds_waited(1, 1, 1, 1, 1, 1) == 6 + QUIET_SECONDS
