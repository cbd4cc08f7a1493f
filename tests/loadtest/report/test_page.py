"""The page says what the result says, whatever is in it, and needs nothing but itself."""

import subprocess
from pathlib import Path

import msgspec
import pytest

import loadtest.report.page
from loadtest.report.page.document import document_of
from loadtest.report.page.figures import milliseconds
from loadtest.report.page.keys import title_of, unit_in
from loadtest.report.page.seconds import MOST_POINTS, Seconds
from loadtest.report.result import Messages, Objective, Result, Verdict
from tests.loadtest.report.imagined import imagine, imagine_nothing, imagine_rest
from tests.loadtest.report.reader import Page
from tests.system import require

EVERYTHING = [
    *("objectives", "findings", "latency", "seconds", "messages", "load", "endings"),
    *("server", "stages", "generator", "environment"),
]
RESULTS = {
    "met": imagine(),
    "missed": imagine(slower=1.6, lost=3),
    "rest": imagine_rest(),
    "failed": imagine_nothing(),
    "interrupted": imagine_nothing(Verdict.INVALID),
}


@pytest.fixture(scope="module", params=RESULTS, ids=list(RESULTS))
def result(request: pytest.FixtureRequest) -> Result:
    """Each kind of result, one after the other."""
    return RESULTS[request.param]


def test_every_page_is_whole_and_fetches_nothing(result: Result) -> None:
    """Every element is ended, nothing is loaded but an empty icon, and links go to the files beside the page."""
    page = Page(document_of(result))
    assert page.unclosed == []
    assert page.fetched == ["data:,"]
    assert set(page.links) == {"result.json", "series.csv", "latency.hdr", "junit.xml", "report.png"}
    assert "url(" not in document_of(result)


def test_only_our_own_script_may_run(result: Result) -> None:
    """The policy of the page names one script by its hash and lets nothing else load."""
    page = Page(document_of(result))
    policies = [known["content"] for tag, known in page.elements if tag == "meta" and "http-equiv" in known]
    assert len(page.scripts) == len(policies) == 1
    assert "default-src 'none'" in policies[0]
    assert "script-src 'sha256-" in policies[0]


def test_the_parts_come_in_the_order_a_reader_asks_for() -> None:
    """The verdict and the objectives come first, the environment last, and no part is missing from a whole run."""
    page = Page(document_of(RESULTS["met"]))
    assert page.sections == EVERYTHING
    assert page.text.index("Met Every objective holds.") < page.text.index("Objectives: 7 of 7 met")


def test_a_part_without_figures_is_left_out() -> None:
    """A run that measured nothing says why, and draws nothing."""
    page = Page(document_of(RESULTS["failed"]))
    assert page.sections == ["generator", "environment"]
    assert "Could not run" in page.text
    assert "Postgres did not start" in page.text
    assert not page.of_class("chart")


def test_an_interrupted_run_says_so() -> None:
    """Whoever opens the page of a run that was stopped learns it from the first line."""
    assert "It was interrupted after 0:02" in Page(document_of(RESULTS["interrupted"])).text


def test_missed_objectives_come_first_with_what_is_left_of_them() -> None:
    """A goal that was missed above its floor is told apart from a floor that was missed."""
    whole = RESULTS["missed"]
    text = Page(document_of(whole)).text
    assert "goal missed Send to receive, p99 latency_ms.send_to_receive.p99" in text
    assert text.index("goal missed") < text.index("met Send to receive, p50")
    worst = [msgspec.structs.replace(each, measured=900.0, met=False) for each in whole.objectives]
    assert (
        "under floor Send to receive, p99" in Page(document_of(msgspec.structs.replace(whole, objectives=worst))).text
    )


def test_faults_stand_out_and_their_absence_is_good() -> None:
    """A message that was lost is marked; each kind of fault that did not happen is marked as well."""
    page = Page(document_of(RESULTS["missed"]))
    assert "3 lost acked or due" in page.text
    assert len([cell for cell in page.of_class("cell") if "bad" in cell["class"].split()]) == 1
    clean = msgspec.structs.replace(RESULTS["met"], messages=Messages(sent=1, acked=1, due=1, received=1))
    cells = [cell["class"].split() for cell in Page(document_of(clean)).of_class("cell")]
    assert sum("good" in cell for cell in cells) == 10 + 3  # of the generator: processor, workers, sends in time


def test_a_run_whose_generator_was_the_limit_begins_with_that() -> None:
    """What makes every figure worthless stands above the figures."""
    whole = RESULTS["met"]
    generator = msgspec.structs.replace(whole.generator, bottlenecks=["worker-1 used 97 % of a core"])
    page = Page(document_of(msgspec.structs.replace(whole, verdict=Verdict.INVALID, generator=generator)))
    assert page.sections[0] == "generator"
    assert "Yes. What was measured is the generator: worker-1 used 97 % of a core" in page.text


def test_a_generator_nobody_watched_is_not_called_healthy() -> None:
    """Without figures of workers the page does not say that it was not the generator."""
    assert "Nobody can tell." in Page(document_of(RESULTS["failed"])).text


def test_text_of_a_run_never_becomes_markup() -> None:
    """Names, reasons and series with markup in them are shown as they are."""
    nasty = "</script><script>alert(1)</script>\"'&"
    whole = RESULTS["met"]
    stages = [msgspec.structs.replace(stage, name=nasty) for stage in whole.stages]
    series = [
        msgspec.structs.replace(sample, stage=nasty, server={f"{nasty}.cpu_percent": 1.0}) for sample in whole.series
    ]
    evil = msgspec.structs.replace(
        whole,
        scenario=nasty,
        title=nasty,
        reasons=[nasty],
        stages=stages,
        series=series,
        close_codes={nasty: 1},
        refusals={nasty: 1},
        environment={nasty: {nasty: nasty}},
        plan={nasty: nasty},
    )
    page = Page(document_of(evil))
    assert page.unclosed == []
    assert len(page.scripts) == 1
    assert page.text.count("alert(1)") >= 10


def test_the_slo_is_drawn_against_the_curve() -> None:
    """Each percentile of the SLO is a step of the line, with its name, and raw stands beside corrected."""
    page = Page(document_of(RESULTS["missed"]))
    for said in ("SLO: p50 ≤ 8 ms", "SLO: p99 ≤ 25 ms", "floor: p99 ≤ 600 ms", "corrected", "raw"):
        assert said in page.text
    assert page.of_class("level")


def test_what_befell_the_system_is_in_every_chart_of_time() -> None:
    """A node that was killed is marked where latency, connections and processors are drawn."""
    page = Page(document_of(RESULTS["met"]))
    timed = [known for known in page.of_class("chart") if "data-timed" in known]
    assert page.text.count("kill-node") >= len(timed) > 5


def test_the_slowest_second_is_told_with_what_else_it_saw() -> None:
    """The stall of the fourth minute is the first row, at its time."""
    text = Page(document_of(RESULTS["met"])).text
    assert "busiest process generator 3:32 hold" in text


def test_a_long_run_keeps_its_worst_seconds() -> None:
    """A soak of hours is drawn with a bounded number of points, and no spike of a single second is lost."""
    whole = RESULTS["met"]
    calm = [msgspec.structs.replace(whole.series[100], at_s=float(at), p99_ms=5.0) for at in range(20_000)]
    calm[12_345] = msgspec.structs.replace(calm[12_345], p99_ms=777.0)
    seconds = Seconds(msgspec.structs.replace(whole, series=calm, seconds=20_000.0))
    line = seconds.line("p99", 1, lambda sample: sample.p99_ms, joined=max)
    assert len(line.points) <= MOST_POINTS
    assert max(value for _, value in line.points if value is not None) == 777.0


def test_the_plan_may_be_anything() -> None:
    """A plan that is not the one we know is shown, and breaks nothing."""
    for plan in ({"stages": 7}, {"stages": [None, "x", {"action": None}]}, {"stages": {"a": 1}}):
        assert "The plan, as it was followed" in document_of(msgspec.structs.replace(RESULTS["met"], plan=plan))


def test_the_cursor_is_a_script_that_parses() -> None:
    """Node finds no fault in the page's one script."""
    script = Path(loadtest.report.page.__path__[0], "cursor.js")
    subprocess.run((require("node", "nodejs"), "--check", script), check=True, timeout=60)


def test_an_objective_of_one_stage_is_drawn_over_that_stage() -> None:
    """A limit that holds for what came after a fault is a line from there on, and no line before."""
    whole = RESULTS["met"]
    last = whole.stages[-1]
    objective = Objective(
        key=f"stages.{last.name}.latency_ms.send_to_receive.p99",
        limit=50.0,
        floor=None,
        measured=12.0,
        met=True,
        words="",
    )
    page = Page(document_of(msgspec.structs.replace(whole, objectives=[objective])))
    assert "Send to receive, p99, in stage lose a node" in page.text
    names = [known["style"] for known in page.of_class("limit")]
    assert len(names) == 1
    assert names[0].startswith(f"left:{100 * last.began_s / whole.seconds:.2f}%")


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
