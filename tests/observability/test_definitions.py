"""The definitions of all programs, and the page of the documentation that is made of them."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from api.metrics import exposition as api
from observability.definition import Definition, Kind
from relay.metrics import exposition as relay
from relay.metrics.labels import HandshakeOutcome, Hostility, JoinOutcome, JournalRefusal
from tests import metrics_documentation as documentation
from tests.metrics_documentation import COMMAND, MARKER, PAGE, render_page
from worker import metrics as worker

PROGRAMS: dict[str, Sequence[Definition[...]]] = {
    "relay": relay.DEFINITIONS,
    "api": api.DEFINITIONS,
    "worker": worker.DEFINITIONS,
}
DEFINITIONS = [row for rows in PROGRAMS.values() for row in rows]

by_name = pytest.mark.parametrize("row", DEFINITIONS, ids=[row.name for row in DEFINITIONS])


def test_the_page_is_generated_from_the_definitions() -> None:
    """Every metric and every word of a label is in docs/metrics.md, and nothing else below its marker."""
    page = PAGE.read_text(encoding="utf-8")
    assert render_page(page) == page
    assert all(f"| `{each.name}` |" in page for each in DEFINITIONS)
    assert all(f"| `{word}` |" in page for word in (*HandshakeOutcome, *JoinOutcome, *Hostility, *JournalRefusal))


def test_a_page_that_is_out_of_date_is_reported_and_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` writes nothing; without it the tables are written again, and the text above them stays."""
    page = tmp_path / "metrics.md"
    page.write_text(f"by hand\n{MARKER}old tables\n", encoding="utf-8")
    monkeypatch.setattr(documentation, "PAGE", page)
    assert documentation.main(["--check"]) == 1
    assert COMMAND in capsys.readouterr().err
    assert "old tables" in page.read_text(encoding="utf-8")
    assert documentation.main([]) == 0
    assert documentation.main(["--check"]) == 0
    assert page.read_text(encoding="utf-8").startswith(f"by hand\n{MARKER}\n## Relay: connections\n")


def test_a_page_without_its_marker_is_not_written() -> None:
    """Text by hand is never overwritten by mistake."""
    with pytest.raises(ValueError, match="no line"):
        render_page("# Metrics\n")


def test_expressions_of_the_page_name_metrics_that_exist() -> None:
    """What one copies from the page into Prometheus finds something."""
    named = set(re.findall(r"\b((?:varde_(?:relay|api|worker|log)|process)_\w+)", PAGE.read_text(encoding="utf-8")))
    known = {row.name for row in DEFINITIONS} | {
        f"{row.name}_bucket" for row in DEFINITIONS if row.kind is Kind.HISTOGRAM
    }
    assert named <= known, named - known


@by_name
def test_names_follow_the_conventions(row: Definition[...]) -> None:
    """Counters and nothing else end with `_total`, and whoever measures says in which unit."""
    assert row.name.startswith(("varde_relay_", "varde_api_", "varde_worker_", "varde_log_", "process_"))
    assert row.name.endswith("_total") == (row.kind is Kind.COUNTER)
    assert not re.search(r"_(ms|milliseconds|kb|kib|count|sum|bucket)(_|$)", row.name)
    for unit in ("seconds", "bytes"):
        assert unit not in row.name or row.name.removesuffix("_total").endswith(f"_{unit}")


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_metric_is_there_twice(program: str) -> None:
    """One name, one row."""
    names = [row.name for row in PROGRAMS[program]]
    assert len(set(names)) == len(names)
