"""Runs in the documentation."""

from pathlib import Path

import msgspec
import pytest

from loadtest.report.publishing import BEGIN, END, PAGE, PublishError, publish
from loadtest.report.result import Verdict
from loadtest.report.writing import write_reports
from tests.loadtest.report import imagined

WORDS = "# Before\n\n" + BEGIN + "\nold\n" + END + "\n\nAfter.\n"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page with a place for results."""
    page = tmp_path / "docs" / "load-results.md"
    page.parent.mkdir()
    page.write_text(WORDS)
    return page


def run_of(folder: Path, scenario: str, verdict: Verdict = Verdict.MET) -> Path:
    """A run's folder."""
    result = msgspec.structs.replace(imagined.imagine(), scenario=scenario, title=scenario.title(), verdict=verdict)
    write_reports(result, folder / scenario)
    return folder / scenario


def test_a_run_takes_the_place_of_an_older_one_and_leaves_the_others(tmp_path: Path, page: Path) -> None:
    """The table has a row for each scenario that was ever published, in the catalogue's order; the words stay."""
    publish([run_of(tmp_path, "steady"), run_of(tmp_path, "idle")], page, ["idle", "steady"])
    publish([run_of(tmp_path, "steady", Verdict.MISSED)], page, ["idle", "steady"])
    text = page.read_text()
    rows = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| **")]
    assert rows == [["| **Idle**", "met"], ["| **Steady**", "missed"]]
    assert text.startswith("# Before\n\n" + BEGIN)
    assert text.endswith(END + "\n\nAfter.\n")
    assert "old" not in text
    for name in ("idle.html", "idle.png", "idle.json", "steady.html"):
        assert (page.parent / "benchmarks" / "load" / name).is_file()


def test_a_run_of_which_nothing_was_learned_is_refused(tmp_path: Path, page: Path) -> None:
    """An invalid run changes nothing, not even what comes with it."""
    good, bad = run_of(tmp_path, "steady"), run_of(tmp_path, "idle", Verdict.INVALID)
    with pytest.raises(PublishError, match="idle is invalid"):
        publish([good, bad], page)
    assert page.read_text() == WORDS


def test_a_page_without_its_marks_is_refused(tmp_path: Path, page: Path) -> None:
    """Nobody's words are guessed at."""
    page.write_text("# Before\n")
    with pytest.raises(PublishError, match="marks"):
        publish([run_of(tmp_path, "steady")], page)


def test_the_page_of_the_documentation_has_a_place() -> None:
    """Both marks, in their order."""
    text = PAGE.read_text(encoding="utf-8")
    assert 0 < text.find(BEGIN) < text.find(END)
