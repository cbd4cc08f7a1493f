"""The index lists all runs in a folder."""

from pathlib import Path

import msgspec
import pytest

from loadtest.command.cli import main
from loadtest.exits import Verdict
from loadtest.report.outputs import write_index
from loadtest.report.result import Result
from tests.loadtest.report.html_page import Page
from tests.loadtest.report.sample_runs import empty_run, rest_run, sample_run

pytestmark = pytest.mark.xdist_group("reports")  # they share the runs that they are about


def keep(folder: Path, name: str, result: Result, **changes: object) -> None:
    """Write the result of a run into its folder."""
    (folder / name).mkdir()
    (folder / name / "result.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(result, **changes)))


def index(folder: Path) -> Page:
    """The index of a folder."""
    return Page(write_index(folder).read_text(encoding="utf-8"))


def test_every_run_has_its_row_with_what_is_asked_first(tmp_path: Path) -> None:
    """Verdict, time, commit, percentiles and losses of each run are there, the newest first, each with a link."""
    environment = {**sample_run().environment, "commit": "c0ffee+"}
    keep(tmp_path, "a", sample_run(), environment=environment)
    keep(tmp_path, "b", sample_run(slower=1.6, lost=3), started="2026-11-24T00:00:00Z")
    keep(tmp_path, "c", rest_run(), started="2026-11-22T00:00:00Z")
    keep(tmp_path, "d", empty_run(), started="2026-11-21T00:00:00Z")
    (tmp_path / "calibration.json").write_text("{}")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "result.json").write_text("half a res")
    page = index(tmp_path)
    assert page.links == [f"{name}/report.html" for name in "badc"]
    assert page.sections == ["steady", "rest"]
    for words in ("met", "missed", "failed", "c0ffee+", "2026-11-24 00:00:00", "29.1 ms"):
        assert words in page.text
    assert len([known for tag, known in page.elements if tag == "td" and known.get("class") == "bad"]) == 1
    assert page.unclosed == []
    assert {each for each in page.fetched if not each.startswith("#")} == {"data:,"}


def test_a_trend_joins_what_can_be_compared(tmp_path: Path) -> None:
    """Runs on another machine, of another load, or of which nothing was learned are no points of the newest's trend."""
    run = sample_run()
    keep(tmp_path, "a", run, started="2026-11-24T00:00:00Z")
    assert "<svg" not in index(tmp_path).source, "one point is no trend"
    keep(tmp_path, "b", run, environment={**run.environment, "cpu": "Slide rule"})
    keep(tmp_path, "c", run, users=msgspec.structs.replace(run.users, asked=10))
    keep(tmp_path, "d", run, verdict=Verdict.INVALID)
    assert "<svg" not in index(tmp_path).source
    keep(tmp_path, "e", sample_run(2), started="2026-11-23T00:00:00Z")
    assert index(tmp_path).source.count("<svg") == 2, "p50 and p99"


def test_names_of_runs_never_become_markup(tmp_path: Path) -> None:
    """What a folder or a title is called is shown as it is."""
    keep(tmp_path, "<b>&", sample_run(), title="<script>alert(1)</script>")
    page = index(tmp_path)
    assert page.scripts == []
    assert page.links == ["%3Cb%3E%26/report.html"]
    assert "alert(1)" in page.text


def test_the_command_writes_the_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without runs has an index that says so; no folder is exit code 3."""
    assert main(["index", str(tmp_path)]) == 0
    assert "No run" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert main(["index", str(tmp_path / "gone")]) == 3
    assert "gone" in capsys.readouterr().err
