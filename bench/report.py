"""The results of a run as a page of Markdown with charts: beside `bench.json`, and on request in the documentation."""

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import ChainableUndefined, Environment, FileSystemLoader

from bench.catalogue import CATALOGUE, DURABLE_PEERS, VARDE, title_of
from bench.charts import draw_charts
from bench.results import Results, judge
from loadtest.stack.process import ROOT

TABLE: Final = "bench.md"
PAGE: Final = ROOT / "docs/benchmarks.md"
PICTURES: Final = "benchmarks"
BEGIN: Final = "<!-- written by `make bench`: begin -->"
END: Final = "<!-- written by `make bench`: end -->"
_TABLES: Final = Path(__file__).with_name("tables.toml")
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
    words = {"tree": results.tree, "verdicts": judge(results), "tables": list(_tables(results))}
    text = _ENVIRONMENT.get_template("report.md.j2").render(**words, pictures=charts, folder=folder)
    return text.strip() + "\n"


def _tables(results: Results) -> Iterator[tuple[str, str, list[list[str]], list[str]]]:
    for table in msgspec.toml.decode(_TABLES.read_bytes())["table"]:
        of, columns = table["of"], table["columns"].split()
        found = results.find(of) or {}
        names = [name for name in (*CATALOGUE, *DURABLE_PEERS) if name in found] or found
        rows = [[_title(name), *(_cell(results, of, name, column) for column in columns)] for name in names]
        rows = [row for row in rows if set(row[1:]) != {NOTHING}]
        if rows:
            cells = "".join(cell for row in rows for cell in row[1:])
            yield table["heading"], table["head"], rows, [note for mark, note in _NOTES.items() if mark in cells]


def _title(row: str) -> str:
    return f"**{title_of(row)}**" if row == VARDE else f"{int(row):,}" if row.isdigit() else title_of(row)


def _cell(results: Results, key: str, row: str, column: str) -> str:
    place, _, digits = column.removeprefix("/").partition(":")
    value = results.find(f"{key}.{row}.{place}")
    if column.startswith("/"):
        return _over(value, results.find(f"{key}.picows.{place}"))
    point, _, name = place.rpartition(".")
    said = results.find(f"{key}.{row}.{point}".rstrip(".")) if name.startswith("us_per_") else {}
    marks = BOUND * bool(said.get("generator_bound")) + REFUSED * bool(said.get("refused")) if said else ""
    return figure(value, int(digits or 3)) + marks


def figure(value: object, digits: int = 3) -> str:
    """Return a figure with so many digits, thousands apart; a dash where there is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return NOTHING
    exact = float(f"{value:.{digits}g}")
    if not exact or (isinstance(value, int) and abs(exact) < 10**digits):
        return f"{exact:,.0f}"
    return f"{exact:,.{max(0, digits - 1 - math.floor(math.log10(abs(exact))))}f}"


def _over(value: Any, reference: Any = 1) -> str:
    return f"{value / reference:.2f}x" if isinstance(value, int | float) and reference else NOTHING


_ENVIRONMENT: Final = Environment(  # noqa: S701 - it writes Markdown, of figures and names that are ours
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=ChainableUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(figure=figure, over=_over)
