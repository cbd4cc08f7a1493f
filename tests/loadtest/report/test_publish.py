"""Runs in the documentation."""

from pathlib import Path

import msgspec
import pytest

from loadtest.command.cli import main
from loadtest.exits import CouldNotRun, Verdict
from loadtest.report.outputs import PAGE, publish_runs
from tests.loadtest.report import sample_runs

pytestmark = pytest.mark.xdist_group("reports")  # they share the runs that they are about

BEGIN = "<!-- written by `python -m loadtest publish`: begin -->"
END = BEGIN.replace("begin", "end")
WORDS = "# Before\n\n" + BEGIN + "\nold\n" + END + "\n\nAfter.\n"
SMALL = 60_000


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page with a place for results."""
    page = tmp_path / "docs" / "load-results.md"
    page.parent.mkdir()
    page.write_text(WORDS)
    return page


def run_of(folder: Path, scenario: str, verdict: Verdict = Verdict.MET) -> Path:
    """A run's folder."""
    (folder / scenario).mkdir(exist_ok=True)
    run = sample_runs.sample_run()
    result = msgspec.structs.replace(run, scenario=scenario, title=scenario.title(), verdict=verdict)
    (folder / scenario / "result.json").write_bytes(msgspec.json.encode(result))
    return folder / scenario


def test_a_run_takes_the_place_of_an_older_one_and_leaves_the_others(tmp_path: Path, page: Path) -> None:
    """The table has a row for each scenario that was ever published, in the catalogue's order; the words stay."""
    publish_runs([run_of(tmp_path, "steady"), run_of(tmp_path, "idle")], page, ["idle", "steady"])
    first = page.read_text()
    publish_runs([run_of(tmp_path, "steady", Verdict.MISSED)], page, ["idle", "steady"])
    text = page.read_text()
    rows = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| [")]
    assert rows == [
        ["| [Idle](benchmarks/load/idle.png)", "met"],
        ["| [Steady](benchmarks/load/steady.png)", "missed"],
    ]
    assert next(line for line in first.splitlines() if "idle.png" in line) in text, "an older row stays as it was"
    assert text.count("Machine: ") == 1
    assert text.startswith("# Before\n\n" + BEGIN)
    assert text.endswith(END + "\n\nAfter.\n")
    assert "old" not in text


def test_a_published_run_leaves_a_small_picture_and_nothing_else(tmp_path: Path, page: Path) -> None:
    """The repository does not grow by the megabytes of a result."""
    publish_runs([run_of(tmp_path, "steady")], page)
    (picture,) = (page.parent / "benchmarks" / "load").iterdir()
    assert picture.name == "steady.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < SMALL


def test_a_run_of_which_nothing_was_learned_is_refused(tmp_path: Path, page: Path) -> None:
    """An invalid run changes nothing, not even what comes with it."""
    good, bad = run_of(tmp_path, "steady"), run_of(tmp_path, "idle", Verdict.INVALID)
    with pytest.raises(CouldNotRun, match="idle is invalid"):
        publish_runs([good, bad], page)
    assert page.read_text() == WORDS
    assert not (page.parent / "benchmarks").exists()


def test_a_page_without_its_marks_is_refused(tmp_path: Path, page: Path) -> None:
    """Nobody's words are guessed at."""
    page.write_text("# Before\n")
    with pytest.raises(CouldNotRun, match="marks"):
        publish_runs([run_of(tmp_path, "steady")], page)


def test_what_is_no_run_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with 3 and touches nothing."""
    assert main(["publish", str(tmp_path)]) == 3
    assert "cannot be read" in capsys.readouterr().err


def test_the_page_of_the_documentation_has_a_place_and_its_pictures() -> None:
    """Both marks are there in their order, and each picture that the table names, none of them large."""
    text = PAGE.read_text(encoding="utf-8")
    assert 0 < text.find(BEGIN) < text.find(END)
    pictures = list((PAGE.parent / "benchmarks" / "load").iterdir())
    assert all(f"](benchmarks/load/{picture.name})" in text for picture in pictures)
    assert len(pictures) == text.count("](benchmarks/load/")
    assert all(picture.stat().st_size < SMALL for picture in pictures)
