"""The results of a run as a page of Markdown with charts: beside `bench.json`, and on request in the documentation."""

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import ChainableUndefined, Environment, FileSystemLoader

from bench.catalogue import CATALOGUE, title_of
from bench.charts import draw_charts
from bench.results import Results, judge
from loadtest.stack.process import ROOT

TABLE: Final = "bench.md"
PAGE: Final = ROOT / "docs/benchmarks.md"
PICTURES: Final = "benchmarks"
BEGIN: Final = "<!-- written by `make bench`: begin -->"
END: Final = "<!-- written by `make bench`: end -->"
NOTHING: Final = "-"  # where nothing was measured
BOUND: Final = "*"
REFUSED: Final = "†"
_NOTES: Final = {
    BOUND: f"\\{BOUND} The generator was more than 90 % busy: this may be its limit, not the server's.",
    REFUSED: f"{REFUSED} The server was asked for more than it takes, and refused some: that cost is in the figure.",
}


def write_report(results: Results, folder: Path) -> Path:
    """Write the report with its charts into a folder and return where."""
    charts, path = draw_charts(results, folder), folder / TABLE
    path.write_text(f"# Benchmark\n\n{report_of(results, charts)}", encoding="utf-8")
    return path


def publish(results: Results, folder: Path, page: Path = PAGE) -> None:
    """Put report and charts of a folder into the page. Raises ValueError for a page without the marks."""
    pictures, charts = page.parent / PICTURES, draw_charts(results, folder)
    pictures.mkdir(exist_ok=True)
    for chart in charts:
        shutil.copy(chart, pictures)
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} has no place for the results: it lost one of its marks")
    inner = f"\n\n{report_of(results, charts, f'{PICTURES}/')}\n"
    page.write_text(before + begin + inner + end + after, encoding="utf-8")


def report_of(results: Results, charts: Sequence[Path] = (), folder: str = "") -> str:
    """Return the report without a heading of its own. Of the charts, only names are needed."""
    template = _ENVIRONMENT.get_template("report.md.j2")
    return template.render(tree=results.tree, verdicts=judge(results), pictures=charts, folder=folder).strip() + "\n"


def figure(value: object, digits: int = 3) -> str:
    """Return a figure with so many digits, thousands apart; a dash where there is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return NOTHING
    exact = float(f"{value:.{digits}g}")
    if not exact or (isinstance(value, int) and abs(exact) < 10**digits):
        return f"{exact:,.0f}"
    return f"{exact:,.{max(0, digits - 1 - math.floor(math.log10(abs(exact))))}f}"


def _times(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}x"


def _over(value: Any, reference: Any) -> str:
    return _times(value / reference) if isinstance(value, int | float) and reference else NOTHING


def _cost(point: Any, key: str) -> str:
    """A figure of a point, marked where it holds more than the server's work."""
    said = point if isinstance(point, dict) else {}
    return figure(said.get(key)) + BOUND * bool(said.get("generator_bound")) + REFUSED * bool(said.get("refused"))


def _notes(table: str) -> str:
    """A table, and under it what its marks mean."""
    marks = table.replace("**", "")
    return "\n".join((table, *(f"{note}\n" for mark, note in _NOTES.items() if mark in marks)))


def _in_order(found: Mapping[str, Any]) -> list[str]:
    """Servers that have figures there, in the order of the catalogue."""
    return [name for name in CATALOGUE if name in found]


def _has_sizes(fanout: Any) -> bool:
    loads = [load for each in (fanout or {}).values() for load in each.values()]
    return any(len(load.get("rooms") or {}) > 1 for load in loads)


_ENVIRONMENT: Final = Environment(  # noqa: S701 - it writes Markdown, of figures and names that are ours
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=ChainableUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(figure=figure, times=_times, over=_over, cost=_cost, notes=_notes, title_of=title_of)
_ENVIRONMENT.filters.update(in_order=_in_order, has_sizes=_has_sizes, thousands="{:,}".format)
