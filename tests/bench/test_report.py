"""A report says everything the results say, and goes between its marks."""

from pathlib import Path

import pytest

from bench.report import PAGE, publish, report_of, write_report
from bench.results import Results
from loadtest.exits import CouldNotRun
from tests.bench.sample import sample_tree

PNG = b"\x89PNG"
BEGIN = "<!-- written by `make bench`: begin -->"
END = BEGIN.replace("begin", "end")


def test_every_part_of_the_results_is_in_the_report() -> None:
    """Each dimension has its table, with the peers, the ratio to picows, the machine, and what was left out."""
    report = report_of(Results(Path(), sample_tree()))
    headings = [line for line in report.splitlines() if line.startswith("### ")]
    assert len(headings) == 13
    for said in (
        "Abacus",
        "c0ffee",
        "| **Varde** | 11.0 | 0.92x |",
        "trio-websocket",
        "**missed**",
        "mosquitto, each, second",
    ):
        assert said in report
    assert "- Left out: node-ws: there is no `node`" in report


def test_a_busy_generator_is_said_under_its_table() -> None:
    """The figure has a mark, the table a note; tables without such a figure have none."""
    tree = sample_tree()
    report = report_of(Results(Path(), tree))
    assert "24.0* |" in report
    assert report.count("\\*") == 1
    del tree["direct"]
    assert "\\*" not in report_of(Results(Path(), tree))


def test_refusals_are_said_under_their_table() -> None:
    """A figure that holds the cost of refusals is marked, and the mark explained."""
    tree = sample_tree()
    tree["direct"]["varde"]["refused"] = 7
    report = report_of(Results(Path(), tree))
    assert "33.0† |" in report
    assert report.count("† The server was asked") == 1


def test_a_run_that_was_stopped_says_so() -> None:
    """What is there is reported, without a table for what is not, and with the word that it is not all."""
    report = report_of(Results(Path(), {"run": {"complete": False, "quick": True}, "machine": {}}))
    assert "stopped before its end" in report
    assert "smoke test" in report
    assert "### Fan-out" not in report


def test_charts_are_drawn_of_what_there_is(tmp_path: Path) -> None:
    """Whole results have five pictures beside the table; empty ones have a table without any."""
    path = write_report(Results(tmp_path, sample_tree()), tmp_path)
    charts = sorted(tmp_path.glob("*.png"))
    assert [chart.stem for chart in charts] == ["direct", "fan-out", "latency"]
    assert {chart.read_bytes()[:4] for chart in charts} == {PNG}
    assert path.read_text().count("![") == 3
    assert "![" not in write_report(Results(tmp_path / "empty", {}), tmp_path / "empty").read_text()


def test_only_what_is_between_the_marks_changes(tmp_path: Path) -> None:
    """A page keeps its prose, also when it is published to twice, and one without the marks is refused."""
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    results = Results(tmp_path, {})
    publish(results, tmp_path, page)
    once = page.read_text(encoding="utf-8")
    publish(results, tmp_path, page)
    assert page.read_text(encoding="utf-8") == once
    assert once.startswith(f"before\n{BEGIN}")
    assert once.endswith(f"{END}\nafter\n")
    assert "old" not in once
    page.write_text("no place", encoding="utf-8")
    with pytest.raises(CouldNotRun, match="marks"):
        publish(results, tmp_path, page)


def test_the_page_has_its_marks() -> None:
    """There is one place in the documentation for the results."""
    text = PAGE.read_text(encoding="utf-8")
    assert (text.count(BEGIN), text.count(END)) == (1, 1)
    assert text.index(BEGIN) < text.index(END)


def test_results_are_whole_on_disk_after_each_figure(tmp_path: Path) -> None:
    """Whatever was put is read back at once, and merging adds without taking away."""
    results = Results(tmp_path)
    results.put("fanout", "varde", value={"light": 1})
    results.merge("fanout", "varde", value={"saturated": 2})
    assert Results.read(tmp_path).tree == {"fanout": {"varde": {"light": 1, "saturated": 2}}}
    assert results.find("fanout.varde.light") == 1
    assert results.find("fanout.nobody.light") is None
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]
