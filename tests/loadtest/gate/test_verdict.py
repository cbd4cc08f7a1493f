"""The verdict: what was missed, what was never learned, and in which order."""

import msgspec
import pytest

from loadtest.exits import Verdict
from loadtest.gate import judge, read_slo
from loadtest.report.result import Generator, Latencies, Latency, Messages, Rate, Result, Users
from tests.loadtest.gate.results import good

SLO = read_slo()
LOST = Messages(sent=1000, acked=1000, due=1000, received=999, lost=1)


def late(p99: float | None) -> Latencies:
    """Latencies of a run with this 99th percentile."""
    return Latencies(send_to_receive=Latency(count=1000, p99=p99))


def objective(result: Result, key: str) -> tuple[bool, str]:
    """Whether the line of that key was met, and its words."""
    found = next(each for each in result.objectives if each.key == key)
    return found.met, found.words


def test_a_good_run_is_met() -> None:
    """A run within all objectives is met, with a line for each of them and no reason to say more."""
    judged = judge(good(), SLO)
    assert (judged.verdict, judged.reasons) == (Verdict.MET, [])
    assert [each.key for each in judged.objectives] == [bound.key for bound in SLO.bounds_of("smoke")]
    assert all(each.met for each in judged.objectives)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"messages": LOST}, "messages.lost"),
        ({"messages": msgspec.structs.replace(LOST, lost=0, duplicated=1)}, "messages.duplicated"),
        ({"messages": msgspec.structs.replace(LOST, lost=0, disordered=1)}, "messages.disordered"),
        ({"latency_ms": late(100.1)}, "latency_ms.send_to_receive.p99"),
        ({"users": Users(asked=100, connected=99, peak=100)}, "users.connected"),
        ({"rate": Rate(target_per_second=50, achieved_per_second=48.9)}, "rate.achieved_per_second"),
    ],
)
def test_one_missed_objective_misses_the_run(changes: dict[str, object], key: str) -> None:
    """One figure on the wrong side is enough, and the reason names it with what was measured and what was wanted."""
    judged = judge(good(**changes), SLO)
    assert judged.verdict is Verdict.MISSED
    assert [reason.split(" ")[0] for reason in judged.reasons] == [key]
    assert "the goal is at" in judged.reasons[0]


def test_what_was_not_measured_is_missed() -> None:
    """No figure is no good figure."""
    judged = judge(good(latency_ms=late(None)), SLO)
    assert judged.verdict is Verdict.MISSED
    assert judged.reasons == [
        "latency_ms.send_to_receive.p99: nothing was measured; the goal is at most 100",
    ]


@pytest.mark.parametrize(("p99", "stands"), [(300.0, "the floor of 600 holds"), (700.0, "the floor of 600 is broken")])
def test_the_floor_is_told_beside_the_goal(p99: float, stands: str) -> None:
    """Who misses the goal reads whether the hard floor holds."""
    judged = judge(good(latency_ms=late(p99)), SLO)
    assert judged.verdict is Verdict.MISSED
    assert stands in judged.reasons[0]


def test_a_share_is_shown_as_the_number_it_is() -> None:
    """An objective that is a share of another figure has the number as its limit."""
    judged = judge(good(), SLO)
    limit = next(each.limit for each in judged.objectives if each.key == "rate.achieved_per_second")
    assert limit == 49
    assert {each.key for each in judged.objectives if each.at_least} == {"users.connected", "rate.achieved_per_second"}


def test_a_generator_at_its_limit_makes_the_run_invalid() -> None:
    """A bottleneck that was named makes the run invalid, however good its figures are."""
    generator = Generator(cpu_max_percent=95, bottlenecks=["worker 1 used 95 % of a core"])
    judged = judge(good(generator=generator), SLO)
    assert (judged.verdict, judged.reasons) == (Verdict.INVALID, ["worker 1 used 95 % of a core"])


def test_invalid_comes_before_missed() -> None:
    """Where the generator was the limit, a missed objective says nothing about the system."""
    generator = Generator(cpu_max_percent=95, bottlenecks=["worker 1 used 95 % of a core"])
    judged = judge(good(generator=generator, messages=LOST), SLO)
    assert judged.verdict is Verdict.INVALID
    assert objective(judged, "messages.lost")[0] is False


@pytest.mark.parametrize(
    ("generator", "words"),
    [
        (Generator(cpu_max_percent=90.5), "used 90 % of a core"),
        (Generator(cpu_max_percent=10, expected_workers=2, missing_workers=1), "1 of 2 workers"),
    ],
)
def test_an_overlooked_bottleneck_still_counts(generator: Generator, words: str) -> None:
    """Figures that make a run invalid do so even when nobody has put them into words."""
    judged = judge(good(generator=generator), SLO)
    assert judged.verdict is Verdict.INVALID
    assert words in judged.reasons[0]


def test_an_interrupted_run_is_invalid() -> None:
    """Ctrl-C halfway gives no verdict on the system, and says why."""
    judged = judge(good(interrupted=True), SLO)
    assert (judged.verdict, judged.reasons) == (Verdict.INVALID, ["interrupted"])


def test_reasons_that_were_there_are_kept_once() -> None:
    """What the run itself called invalid stays, and nothing is said twice."""
    result = good(verdict=Verdict.INVALID, reasons=["interrupted"], interrupted=True)
    assert judge(result, SLO).reasons == ["interrupted"]


def test_a_run_that_failed_stays_so() -> None:
    """What could not run is not judged better than that."""
    judged = judge(good(verdict=Verdict.FAILED, reasons=["no stack"]), SLO)
    assert (judged.verdict, judged.reasons) == (Verdict.FAILED, ["no stack"])


def test_to_judge_again_changes_nothing() -> None:
    """The verdict follows from the figures alone."""
    judged = judge(good(messages=LOST), SLO)
    assert judge(judged, SLO) == judged
