"""When sends are due: how many, in which order, whatever the asking."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from loadtest.ledger.run_time import Schedule

SECOND = 1_000_000_000
rates = st.lists(st.tuples(st.integers(1, 5), st.sampled_from([0.0, 0.5, 3.0, 10.0, 250.0])), min_size=1, max_size=6)


def drawn(schedule: Schedule) -> list[int]:
    """Take all that is due until the rate is 0."""
    times = []
    while (due_ns := schedule.next_ns()) is not None:
        times.append(due_ns)
        schedule.take()
    return times


def planned(spans: list[tuple[int, float]], *, seed: int = 0, even: bool = False) -> Schedule:
    """A schedule of `(seconds, rate)`, which ends."""
    schedule, at_ns = Schedule(0, seed=seed, even=even), 0
    for seconds, rate in spans:
        schedule.change(at_ns, rate)
        at_ns += seconds * SECOND
    schedule.change(at_ns, 0.0)
    return schedule


@given(rates)
def test_an_even_schedule_offers_exactly_its_rate(spans: list[tuple[int, float]]) -> None:
    """Over all changes of the rate, as many are due as its area says, to the nearest one."""
    area = sum(seconds * rate for seconds, rate in spans)
    assert abs(len(drawn(planned(spans, even=True))) - area) <= 0.5


def test_announcing_the_same_rate_again_changes_nothing() -> None:
    """A rate that is set each second, as a ramp does, offers what one that is set once does."""
    assert len(drawn(planned([(1, 0.3)] * 100, even=True))) == 30
    assert drawn(planned([(1, 10.0)] * 100, seed=3))[:-1] == drawn(planned([(100, 10.0)], seed=3))[:-1]


@given(rates, st.integers(0, 1_000))
def test_times_go_forward_and_stay_within_the_plan(spans: list[tuple[int, float]], seed: int) -> None:
    """Nothing is due before the one before it, nor while the rate is 0, nor after the end."""
    times = drawn(planned(spans, seed=seed))
    assert all(one <= next_one for one, next_one in pairwise(times))
    idle = [span for span in _spans_at(spans) if span[2] == 0.0]
    assert not [at for at in times for start, end, _ in idle if start <= at < end]
    _, last, _ = _spans_at(spans)[-1]
    assert all(0 <= at <= last for at in times)


def _spans_at(spans: list[tuple[int, float]]) -> list[tuple[int, int, float]]:
    placed, at_ns = [], 0
    for seconds, rate in spans:
        placed.append((at_ns, at_ns + seconds * SECOND, rate))
        at_ns += seconds * SECOND
    return placed


def test_arrivals_are_those_of_independent_people() -> None:
    """Gaps have the mean of the rate and, unlike even ones, a deviation as large as their mean."""
    times = drawn(planned([(200, 100.0)], seed=5))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert abs(len(times) - 20_000) < 5 * 20_000**0.5
    assert 0.9 < deviation / mean < 1.1


def test_a_seed_can_be_repeated() -> None:
    """The same seed asks every server the same; another seed something else."""
    spans = [(5, 50.0)]
    assert drawn(planned(spans, seed=1)) == drawn(planned(spans, seed=1)) != drawn(planned(spans, seed=2))
