"""Where a ramp breaks, and what is said of it."""

from loadtest.gate import breaking_point, breaks, read_slo
from loadtest.report.result import Latencies, Latency
from tests.loadtest.gate.results import stage

SLO = read_slo()


def test_a_stage_that_holds_is_not_broken() -> None:
    """Within its limits a stage has nothing to say."""
    assert breaks(stage("at-100", 0), SLO, asked=100) == []


def test_latency_breaks_a_stage() -> None:
    """A 99th percentile beyond the limit breaks the stage, in words."""
    late = Latencies(send_to_receive=Latency(count=10, p99=601.0))
    assert "p99 is 601" in breaks(stage("at-100", 0, latency_ms=late), SLO)[0]


def test_a_rate_that_is_not_reached_breaks_a_stage() -> None:
    """A system that takes less than is offered is beyond its limit."""
    assert "messages_per_second is 80" in breaks(stage("at-100", 0, messages_per_second=80), SLO)[0]


def test_chance_breaks_nothing() -> None:
    """Arrivals are random, so a short stage may have fewer than its rate; a long one may not."""
    assert breaks(stage("at-100", 0, messages_per_second=90, seconds=10), SLO) == []
    assert breaks(stage("at-100", 0, messages_per_second=90, seconds=1000), SLO)


def test_lost_connections_break_a_stage() -> None:
    """Whoever should be there and is not breaks the stage."""
    assert breaks(stage("at-100", 0, users=99), SLO, asked=100) == ["connections give way (only 99 of 100 are left)"]


def test_a_stage_without_figures_is_broken() -> None:
    """Where nothing came through there is nothing to measure, and that does not hold."""
    assert breaks(stage("at-100", 0, latency_ms=Latencies()), SLO)


def test_the_breaking_point_is_the_last_rate_that_held() -> None:
    """The point is before the first stage that broke, whatever came after it."""
    stages = [
        stage("warm", 0, judged=False, messages_per_second=0),
        stage("at-100", 10),
        stage("at-200", 20, target_per_second=200, messages_per_second=200),
        stage("at-300", 30, target_per_second=300, messages_per_second=200),
        stage("at-400", 40, target_per_second=400, messages_per_second=400),
    ]
    found = breaking_point(stages, SLO)
    assert found.value == 200
    assert found.words.startswith("200 messages a second hold; at 300 throughput gives way (messages_per_second is 200")


def test_what_ended_the_run_is_what_is_found() -> None:
    """What was seen to break is named in the words in which it was seen, though the ledgers look better in the end."""
    found = breaking_point([stage("at-100", 0), stage("at-200", 10)], SLO, ended_by=["latency gives way (so late)"])
    assert (found.value, found.words) == (100, "100 messages a second hold; at 100 latency gives way (so late)")


def test_what_only_the_books_showed_is_said_to_be_so() -> None:
    """Where an earlier stage was too much after all, that one is named, and where the run ended too."""
    stages = [
        stage("at-100", 0),
        stage("at-200", 10, target_per_second=200, messages_per_second=150),
        stage("at-300", 20, target_per_second=300, messages_per_second=300),
    ]
    found = breaking_point(stages, SLO, ended_by=["latency gives way (so late)"])
    assert found.value == 100
    assert "at 200 throughput gives way" in found.words
    assert found.words.endswith(
        "as the ledgers showed afterwards; the run went on, and ended at 300 latency gives way (so late)"
    )


def test_a_ramp_that_never_breaks_says_so() -> None:
    """The highest rate tried is a lower bound, and is called that."""
    found = breaking_point([stage("at-100", 0)], SLO)
    assert (found.value, "nothing broke" in found.words) == (100, True)


def test_a_ramp_that_breaks_at_once_holds_nothing() -> None:
    """Where the first stage breaks, the point is 0."""
    assert breaking_point([stage("at-100", 0, messages_per_second=1)], SLO).value == 0


def test_a_ramp_without_a_stage_found_nothing() -> None:
    """No stage, no point."""
    assert breaking_point([], SLO).value is None
