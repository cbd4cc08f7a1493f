"""Every output of a run can be read by the tools it is for."""

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from jsonschema_rs import Draft202012Validator

from loadtest.exits import Verdict
from loadtest.ledger.reports import read_histogram
from loadtest.report import outputs, schema
from loadtest.report.outputs import OUTPUTS, junit_of, write_reports
from loadtest.report.result import ReadError, Result, read_result
from tests.loadtest.report.sample_runs import empty_run, rest_run, sample_run

pytestmark = pytest.mark.xdist_group("reports")  # they share the runs that they are about

PNG = b"\x89PNG\r\n"
READ_BY_OTHERS = (
    *("verdict", "scenario", "users.connected", "rate.achieved_per_second", "generator.cpu_max_percent"),
    *(f"latency_ms.send_to_receive.{name}" for name in ("p50", "p95", "p99", "p999", "max")),
    *(f"messages.{name}" for name in ("sent", "acked", "received", "lost", "duplicated", "disordered")),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of a whole run."""
    folder = tmp_path_factory.mktemp("run") / "new" / "steady"
    write_reports(sample_run(), folder)
    return folder


def test_every_output_is_written(folder: Path) -> None:
    """The folder is made, and holds each output and nothing half written."""
    assert {path.name for path in folder.iterdir()} == set(OUTPUTS)
    assert (folder / "report.png").read_bytes().startswith(PNG)
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("result", [empty_run(), empty_run(Verdict.INVALID)], ids=["failed", "interrupted"])
def test_a_run_that_measured_nothing_has_all_outputs(result: Result, tmp_path: Path) -> None:
    """There is nothing to draw, and still every file, which says so."""
    assert [path.name for path in write_reports(result, tmp_path)] == list(OUTPUTS)
    assert (tmp_path / "report.png").read_bytes().startswith(PNG)
    assert read_result(tmp_path) == result


def test_a_result_comes_back_as_it_was(folder: Path) -> None:
    """Given the folder or the file, the same result is read."""
    assert read_result(folder) == read_result(folder / "result.json") == sample_run()


@pytest.mark.parametrize("key", READ_BY_OTHERS)
def test_keys_that_others_read_are_where_they_expect_them(folder: Path, key: str) -> None:
    """The paths of `result.json` that other checks rely on lead to a value."""
    value: Any = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    for name in key.split("."):
        value = value[name]
    assert value is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not the result of a run"),
        ('{"verdict": "met"}', "missing required field"),
        (msgspec.json.encode(msgspec.structs.replace(empty_run(), schema=2)).decode(), "version 2"),
        (None, "cannot be read"),
    ],
    ids=["empty", "half", "later", "absent"],
)
def test_what_is_no_result_is_refused_in_words(tmp_path: Path, text: str | None, words: str) -> None:
    """The error names the file and says what is wrong with it."""
    if text is not None:
        (tmp_path / "result.json").write_text(text, encoding="utf-8")
    with pytest.raises(ReadError, match=words) as error:
        read_result(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_results_match_their_schema(folder: Path) -> None:
    """Whole and empty results are valid by the published schema, and one with a verdict of its own is not."""
    validator = Draft202012Validator(json.loads(schema.FILE.read_text(encoding="utf-8")))
    whole = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    validator.validate(whole)
    for result in (empty_run(), rest_run()):
        validator.validate(json.loads(msgspec.json.encode(result)))
    assert not validator.is_valid({**whole, "verdict": "fine"})
    assert not validator.is_valid({**whole, "messages": {"lost": "none"}})


def test_the_schema_is_what_the_classes_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The published file is current; the check fails for another one and names the command that writes it."""
    assert schema.main(["--check"]) == 0
    other = tmp_path / "load-result.json"
    assert schema.main(["--check"], other) == 1
    assert "make schema" in capsys.readouterr().err
    assert schema.main([], other) == 0
    assert schema.main(["--check"], other) == 0


def test_the_series_is_a_table(folder: Path) -> None:
    """Each second is a row, each series of a server a column, and what could not be asked is an empty cell."""
    with (folder / "series.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    samples = sample_run().series
    assert [float(row["at_s"]) for row in rows] == [sample.at_s for sample in samples]
    assert rows[0]["p99_ms"] == ""
    assert float(rows[100]["p99_ms"]) == samples[100].p99_ms
    assert float(rows[100]["relay-0.cpu_percent"]) == samples[100].server["relay-0.cpu_percent"]


def test_the_log_is_read_by_hdr_histogram(folder: Path) -> None:
    """The library's own reader finds every stage and kind, in order of time, with all that was measured."""
    reader = HistogramLogReader(str(folder / "latency.hdr"), HdrHistogram(1, 120_000_000, 3))
    found: dict[str, HdrHistogram] = {}
    began = []
    while (histogram := reader.get_next_interval_histogram()) is not None:
        found[histogram.get_tag()] = histogram
        began.append(histogram.get_start_time_stamp())
    reader.close()
    whole = sample_run().latency_ms.send_to_receive
    assert {"judged.send_to_receive", "judged.raw_send_to_ack", "stage.lose-a-node.send_to_receive"} <= found.keys()
    assert found["judged.send_to_receive"].get_total_count() == whole.count
    assert found["judged.send_to_receive"].get_value_at_percentile(99) / 1_000 == whole.p99
    assert began == sorted(began)


def _suite(result: Result) -> ET.Element:
    suite = ET.fromstring(junit_of(result)).find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    return suite


def test_objectives_are_tests_of_a_build() -> None:
    """Each objective is a test, and one that was missed fails with what was measured and what should have been."""
    suite = _suite(sample_run(slower=1.6, lost=3))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("8", "2", "0")
    failures = [failure.get("message") for failure in suite.iter("failure")]
    assert "measured 3, should be at most 0" in failures


def test_an_invalid_run_is_an_error_and_no_objective_passes() -> None:
    """Nothing was learned: whoever shows tests shows one error and everything else as skipped."""
    suite = _suite(msgspec.structs.replace(sample_run(), verdict=Verdict.INVALID, reasons=["too busy\x00"]))
    assert (suite.get("errors"), suite.get("failures"), suite.get("skipped")) == ("1", "0", "7")


def test_one_output_that_fails_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault of one output is raised when all others are written."""

    def broken(_: Result) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setitem(outputs.OUTPUTS, "series.csv", broken)
    with pytest.raises(ZeroDivisionError):
        write_reports(empty_run(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(OUTPUTS) - {"series.csv"}


def test_a_curve_names_every_percentile_it_was_asked_for() -> None:
    """A distribution read back agrees with the figures that were taken from the histogram itself."""
    latency = sample_run().latency_ms.send_to_receive
    histogram = read_histogram(latency.hdr)
    assert histogram.count == latency.count
    for percentile, value in ((50.0, latency.p50), (99.0, latency.p99), (99.9, latency.p999), (100.0, latency.max)):
        assert histogram.percentile_ms(percentile) == value
    assert latency.curve == sorted(latency.curve)
    assert latency.curve[-1] == (100.0, latency.max)
