"""Report and charts on disk: beside `bench.json`, and on request in the documentation, between two marks."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.charts import draw_charts
from bench.hosting import ROOT
from bench.report import report_of
from bench.results import Results

TABLE: Final = "bench.md"
PAGE: Final = ROOT / "docs/benchmarks.md"
PICTURES: Final = "benchmarks"
BEGIN: Final = "<!-- written by `make bench`: begin -->"
END: Final = "<!-- written by `make bench`: end -->"


def write_report(results: Results, folder: Path) -> Path:
    """Write the report with its charts into a folder and return where."""
    charts = draw_charts(results, folder)
    path = folder / TABLE
    path.write_text(f"# Benchmark\n\n{report_of(results)}\n{_pictures(charts, '')}", encoding="utf-8")
    return path


def publish(results: Results, folder: Path, page: Path = PAGE) -> None:
    """Put report and charts of a folder into the page. Raises ValueError for a page without the marks."""
    pictures = page.parent / PICTURES
    pictures.mkdir(exist_ok=True)
    charts = draw_charts(results, folder)
    for chart in charts:
        shutil.copy(chart, pictures)
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} has no place for the results: it lost one of its marks")
    inner = f"\n\n{report_of(results)}\n{_pictures(charts, f'{PICTURES}/')}\n"
    page.write_text(before + begin + inner + end + after, encoding="utf-8")


def _pictures(charts: Sequence[Path], folder: str) -> str:
    return "\n".join(f"![{chart.stem.replace('-', ' ').capitalize()}]({folder}{chart.name})\n" for chart in charts)
