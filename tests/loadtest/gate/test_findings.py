"""What a run found out: recovery, the flush of a backlog, memory."""

import msgspec
import pytest

from loadtest.gate import findings_of, read_slo
from loadtest.report.result import Finding, Messages, Result, Sample
from loadtest.scenarios.plan import SCENARIOS, Options
from tests.loadtest.gate.results import good, sample, stage

SLO = read_slo()


def found(result: Result) -> dict[str, float | None]:
    """What was found, by name."""
    return {finding.name: finding.value for finding in findings_of(result, SLO)}


def run_of(scenario: str, series: list[Sample], *names: str) -> Result:
    """A run of a scenario whose stages last ten seconds each."""
    plan = msgspec.to_builtins(SCENARIOS[scenario].plan(Options()))
    stages = [stage(name, began_s=10.0 * place) for place, name in enumerate(names)]
    return good(scenario=scenario, plan=plan, stages=stages, series=series)


def connected(*counts: int) -> list[Sample]:
    """A series with so many connections, second by second, from second 1 on."""
    return [sample(float(second), connected=count) for second, count in enumerate(counts, 1)]


def test_recovery_ends_when_everybody_is_back() -> None:
    """It lasts from the action until the first second from which on nobody is missing any more."""
    series = connected(*[100] * 10, 100, 0, 40, 100, 99, 100, 100)
    assert found(run_of("reconnect-storm", series, "warm", "storm"))["recovery"] == 6.0


def test_who_does_not_come_back_is_no_recovery() -> None:
    """While somebody is missing at the end there is no time to name."""
    series = connected(*[100] * 10, 0, 50, 99)
    assert found(run_of("reconnect-storm", series, "warm", "storm"))["recovery"] is None


def test_nobody_gone_is_recovered_at_once() -> None:
    """Where nobody was cut off there was nothing to recover from."""
    assert found(run_of("drain", connected(*[100] * 20), "warm", "drain"))["recovery"] == 0.0


def test_a_stage_that_was_not_reached_has_no_recovery() -> None:
    """An interrupted run finds nothing about what never happened."""
    assert "recovery" not in found(run_of("drain", connected(*[100] * 5), "warm"))


def test_a_backlog_is_flushed_when_what_gathered_is_there() -> None:
    """The flush lasts until the sum of what was received reaches that of what was sent."""
    away = [sample(float(second), sent_per_second=10, received_per_second=5) for second in range(1, 11)]
    back = [sample(float(second), sent_per_second=10, received_per_second=25) for second in range(11, 20)]
    result = run_of("backlog", away + back, "away", "back")
    assert found(result)["flush"] == 3.0


def test_a_backlog_that_stays_is_not_flushed() -> None:
    """What is still outstanding at the end has no time."""
    series = [sample(float(second), sent_per_second=10, received_per_second=5) for second in range(1, 20)]
    assert found(run_of("backlog", series, "away", "back"))["flush"] is None


def test_each_delivery_of_a_group_is_part_of_the_backlog() -> None:
    """Where one message is for several, all of its deliveries are waited for."""
    away = [sample(float(second), sent_per_second=10, received_per_second=10) for second in range(1, 11)]
    back = [sample(float(second), sent_per_second=10, received_per_second=70) for second in range(11, 20)]
    result = run_of("backlog", away + back, "away", "back")
    messages = Messages(sent=100, due=300)
    assert found(msgspec.structs.replace(result, messages=messages))["flush"] == 5.0


def test_memory_is_a_line_through_all_nodes() -> None:
    """Growth and slope come from the sum of the relay's nodes, in the judged stages, and nobody else's."""
    series = [
        sample(
            float(second),
            server={"relay-1.rss_mib": 100 + second, "relay-2.rss_mib": 50 + second, "api.rss_mib": 9.0 * second},
        )
        for second in range(1, 702)
    ]
    result = good(stages=[stage("hold", began_s=0)], series=series)
    assert found(result)["memory-growth"] == pytest.approx(1_400)
    assert found(result)["memory-slope"] == pytest.approx(7_200)


def test_a_short_run_has_no_slope() -> None:
    """What some seconds would make of an hour is noise, and is not told; what grew is."""
    series = [sample(float(second), server={"relay-1.rss_mib": 100.0 + second}) for second in range(1, 30)]
    assert set(found(good(stages=[stage("hold", began_s=0)], series=series))) == {"memory-growth"}


def test_a_node_that_was_started_anew_has_no_line() -> None:
    """Memory of two processes, one after the other, says nothing about either."""
    series = [sample(float(second), "storm", server={"relay-1.rss_mib": 100.0}) for second in range(1, 30)]
    assert "memory-growth" not in found(run_of("reconnect-storm", series, "storm"))


def test_too_few_points_make_no_line() -> None:
    """A few seconds say nothing about memory."""
    series = [sample(float(second), server={"relay-1.rss_mib": 100.0}) for second in range(1, 5)]
    assert "memory-slope" not in found(good(stages=[stage("hold", began_s=0)], series=series))


def test_what_the_run_found_is_kept() -> None:
    """A finding that is there already is not found a second time."""
    result = run_of("ramp", [], "at-500")
    named = Finding(name="breaking-point", value=7.0, unit="messages/s", words="seven")
    assert findings_of(msgspec.structs.replace(result, findings=[named]), SLO) == [named]
