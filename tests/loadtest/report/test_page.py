"""The page says what the result says, whatever is in it, and needs nothing but itself."""

from functools import cache

import msgspec
import pytest

from loadtest.exits import Verdict
from loadtest.report.formatting import clock, duration, figure, milliseconds, title_of, unit_in
from loadtest.report.outputs import page_of
from loadtest.report.plots import MOST_POINTS, Timeline, latency_over_time, percentiles_of
from loadtest.report.result import Latencies, Messages, Objective, Result
from tests.loadtest.report.html_page import Page
from tests.loadtest.report.sample_runs import empty_run, rest_run, sample_run

pytestmark = pytest.mark.xdist_group("reports")  # they share the runs that they are about

SECTIONS = [
    *("objectives", "findings", "latency", "messages", "load", "endings"),
    *("server", "stages", "generator", "environment"),
]
RESULTS = {
    "met": sample_run(),
    "missed": sample_run(slower=1.6, lost=3),
    "rest": rest_run(),
    "failed": empty_run(),
    "interrupted": empty_run(Verdict.INVALID),
}


@cache
def page(name: str) -> Page:
    """The page of one of the results."""
    return Page(page_of(RESULTS[name]))


def page_without_charts(result: Result) -> Page:
    """The page of another result, without what would be drawn: charts take most of the time."""
    return Page(page_of(msgspec.structs.replace(result, series=[], latency_ms=Latencies())))


@pytest.mark.parametrize("name", RESULTS)
def test_every_page_is_whole_and_fetches_nothing(name: str) -> None:
    """Every element is ended, nothing is loaded but an empty icon, and links go to the files beside the page."""
    assert page(name).unclosed == []
    assert {each for each in page(name).fetched if not each.startswith("#")} == {"data:,"}
    assert set(page(name).links) == {"result.json", "series.csv", "latency.hdr", "junit.xml", "report.png"}
    assert page(name).source.count("url(") == page(name).source.count("url(#")


@pytest.mark.parametrize("name", RESULTS)
def test_no_script_may_run(name: str) -> None:
    """The page has no script, and its policy lets none run and nothing load."""
    policies = [known["content"] for tag, known in page(name).elements if tag == "meta" and "http-equiv" in known]
    assert page(name).scripts == []
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0]
    assert "script-src" not in policies[0]


def test_the_parts_come_in_the_order_a_reader_asks_for() -> None:
    """The objectives come first, the environment last, and no part is missing from a whole run."""
    assert page("met").sections == SECTIONS
    assert "endpoints" in page("rest").sections


def test_every_chart_follows_the_scheme_of_the_reader() -> None:
    """A picture has the colours of the page's variables, and none of its own that a dark page could not change."""
    pictures = page("met").source.partition("<main")[2].partition("<footer")[0]
    assert pictures.count("<svg") == len(page("met").of_class("chart")) > 10
    assert "var(--c1)" in pictures
    assert "stroke: #" not in pictures
    assert "fill: #" not in pictures


def test_a_part_without_figures_is_left_out() -> None:
    """A run that measured nothing says why, and draws nothing."""
    assert page("failed").sections == ["generator", "environment"]
    assert "Postgres did not start" in page("failed").text
    assert not page("failed").of_class("chart")


def test_an_interrupted_run_says_so() -> None:
    """Whoever opens the page of a run that was stopped learns it, and when."""
    assert "interrupted after 0:02" in page("interrupted").text


def test_missed_objectives_come_first() -> None:
    """A goal that was missed above its floor is told apart from a floor that was missed."""
    whole, text = RESULTS["missed"], page("missed").text
    assert text.index("goal missed") < text.index("met Send to receive, p50")
    worst = [msgspec.structs.replace(each, measured=900.0, met=False) for each in whole.objectives]
    assert (
        "under floor Send to receive, p99" in page_without_charts(msgspec.structs.replace(whole, objectives=worst)).text
    )


def test_faults_stand_out_and_their_absence_is_good() -> None:
    """A message that was lost is marked; each kind of fault that did not happen is marked as well."""
    assert len([cell for cell in page("missed").of_class("cell") if "bad" in cell["class"].split()]) == 1
    clean = msgspec.structs.replace(RESULTS["met"], messages=Messages(sent=1, acked=1, due=1, received=1))
    cells = [cell["class"].split() for cell in page_without_charts(clean).of_class("cell")]
    assert sum("good" in cell for cell in cells) == 10 + 3  # of the generator: processor, workers, sends in time


def test_a_run_whose_generator_was_the_limit_begins_with_that() -> None:
    """What makes every figure worthless stands above the figures."""
    whole = RESULTS["met"]
    generator = msgspec.structs.replace(whole.generator, bottlenecks=["worker-1 used 97 % of a core"])
    found = page_without_charts(msgspec.structs.replace(whole, verdict=Verdict.INVALID, generator=generator))
    assert found.sections[0] == "generator"
    assert "worker-1 used 97 % of a core" in found.text


def test_a_generator_nobody_watched_is_not_called_healthy() -> None:
    """Without figures of workers the page does not say that it was not the generator."""
    assert "Nobody can tell" in page("failed").text
    assert "Nobody can tell" not in page("met").text


def test_text_of_a_run_never_becomes_markup() -> None:
    """Names, reasons and series with markup in them are shown as they are."""
    nasty = "</script><script>alert(1)</script>\"'&$"
    whole = RESULTS["met"]
    series = [
        msgspec.structs.replace(sample, stage=nasty, server={f"{nasty}.cpu_percent": 1.0, nasty: 2.0})
        for sample in whole.series
    ]
    evil = msgspec.structs.replace(
        whole,
        scenario=nasty,
        title=nasty,
        reasons=[nasty],
        stages=[msgspec.structs.replace(stage, name=nasty) for stage in whole.stages],
        series=series,
        close_codes={nasty: 1},
        refusals={nasty: 1},
        environment={nasty: {nasty: nasty}},
        plan={nasty: nasty},
    )
    found = Page(page_of(evil))
    assert found.unclosed == []
    assert found.scripts == []
    assert found.text.count("alert(1)") >= 10


def test_the_slo_is_drawn_against_the_curve() -> None:
    """Each percentile of the SLO has its line with a name, the floor too, and raw stands beside corrected."""
    for words in ("SLO: p50 ≤ 8 ms", "SLO: p99 ≤ 25 ms", "floor: p99 ≤ 600 ms", "corrected", "raw"):
        assert words in page("missed").text


def test_a_floor_far_above_everything_is_not_drawn() -> None:
    """Nothing measured would be seen below it."""
    lines = [msgspec.structs.replace(each, floor=60_000.0) for each in RESULTS["met"].objectives]
    levels = percentiles_of(msgspec.structs.replace(RESULTS["met"], objectives=lines), "send_to_receive").levels
    assert [level.name for level in levels] == ["SLO: p50 ≤ 8 ms", "SLO: p99 ≤ 25 ms"]


def test_what_befell_the_system_is_in_every_chart_of_time() -> None:
    """A node that was killed is marked where latency, connections and processors are drawn."""
    timed = [known for known in page("met").of_class("chart") if "data-timed" in known]
    assert page("met").text.count("kill-node") >= len(timed) > 5


def test_a_chart_over_time_names_the_most_of_each_line() -> None:
    """A spike that is one point of two hundred has its figure in the legend."""
    timed = [known for known in page("met").of_class("chart") if "data-timed" in known]
    assert page("met").source.count("<output>at most ") >= len(timed)
    most = max(sample.p99_ms or 0.0 for sample in RESULTS["met"].series)
    assert f"at most {figure(most, 'ms')}" in page("met").text


def test_the_slowest_second_is_told_with_what_else_it_saw() -> None:
    """The stall of the fourth minute is the first row, at its time."""
    assert "busiest process generator 3:32 hold" in page("met").text


def test_a_long_run_keeps_its_worst_seconds() -> None:
    """A soak of hours is drawn with a bounded number of points, and no spike of a single second is lost."""
    whole = RESULTS["met"]
    calm = [msgspec.structs.replace(whole.series[100], at_s=float(at), p99_ms=5.0) for at in range(20_000)]
    calm[12_345] = msgspec.structs.replace(calm[12_345], p99_ms=777.0)
    timeline = Timeline(msgspec.structs.replace(whole, series=calm, seconds=20_000.0))
    line = timeline.line("p99", "c1", lambda sample: sample.p99_ms, worst=True)
    assert len(line.points) <= MOST_POINTS
    assert max(value for _, value in line.points if value is not None) == 777.0


@pytest.mark.parametrize("plan", [{"stages": 7}, {"stages": [None, "x", {"action": None}]}, {"stages": {"a": 1}}])
def test_the_plan_may_be_anything(plan: dict[str, object]) -> None:
    """A plan that is not the one we know is shown, and breaks nothing."""
    assert (
        "The plan, as it was followed" in page_without_charts(msgspec.structs.replace(RESULTS["met"], plan=plan)).text
    )


def test_an_objective_of_one_stage_is_drawn_over_that_stage() -> None:
    """A limit that holds for what came after a fault is a line from there on, and no line before."""
    whole = RESULTS["met"]
    last = whole.stages[-1]
    key = f"stages.{last.name}.latency_ms.send_to_receive.p99"
    objective = Objective(key=key, limit=50.0, floor=None, measured=12.0, met=True, words="")
    result = msgspec.structs.replace(whole, objectives=[objective])
    assert "Send to receive, p99, in stage lose a node" in page_without_charts(result).text
    chart = latency_over_time(result, Timeline(result))
    assert chart is not None
    assert [(level.name, level.steps) for level in chart.levels] == [
        ("SLO: p99 ≤ 50 ms", [(last.began_s, 50.0), (last.began_s + last.seconds, 50.0)])
    ]


@pytest.mark.parametrize(
    ("key", "title", "unit"),
    [
        ("latency_ms.send_to_ack.p999", "Send to ack, p99.9", "ms"),
        ("latency_ms.raw_send_to_ack.max", "Send to ack, raw max", "ms"),
        ("stages.after.latency_ms.connect.p99", "Connect, p99, in stage after", "ms"),
        ("messages.after_gap", "Messages after gap", ""),
        ("findings.memory-slope.value", "Memory slope", "MiB/h"),
        ("rate.achieved_per_second", "Rate achieved", "/s"),
        ("generator.cpu_max_percent", "CPU of the generator", "%"),
        ("close_codes.4001", "Close codes 4001", ""),
        ("latency_ms.connect.count", "Latency ms connect count", ""),
    ],
)
def test_keys_are_said_in_words(key: str, title: str, unit: str) -> None:
    """Whatever an SLO asks has a title and its unit."""
    assert (title_of(key), unit_in(RESULTS["met"], key)) == (title, unit)


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "\N{EN DASH}"), (0.0, "0 ms"), (0.1234, "0.123 ms"), (29.103, "29.1 ms"), (1234.0, "1,230 ms")],
)
def test_latencies_have_three_digits(value: float | None, words: str) -> None:
    """As many digits are shown as were measured; from ten seconds on they are seconds."""
    assert milliseconds(value) == words
    assert milliseconds(12_345.0) == "12.3 s"


def test_times_are_said_as_people_do() -> None:
    """Hours appear when there are some."""
    assert [clock(seconds) for seconds in (5, 245, 3_845)] == ["0:05", "4:05", "1:04:05"]
    assert [duration(seconds) for seconds in (30.04, 400, 9_000)] == ["30 s", "6.67 min", "2.5 h"]
