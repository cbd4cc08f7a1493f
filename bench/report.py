"""The results of a run as a page of Markdown with charts (PNG): beside `bench.json`, and on request in the docs."""

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import msgspec
from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.results import Results, judge
from bench.server import CATALOGUE, DURABLE_PEERS, VARDE, title_of
from loadtest.report.plots import DASHED, LIGHT, STYLE, Chart, Line, draw, layout, png_of
from loadtest.report.result import split_page
from loadtest.stack.process import ROOT

TABLE: Final = "bench.md"
PAGE: Final = ROOT / "docs/benchmarks.md"
PICTURES: Final = "benchmarks"
_TABLES: Final = Path(__file__).with_name("tables.toml")
NOTHING: Final = "-"  # where nothing was measured
BOUND: Final = "*"
REFUSED: Final = "†"
_NOTES: Final = {
    BOUND: f"\\{BOUND} The generator was more than 90 % busy: this may be its limit, not the server's.",
    REFUSED: f"{REFUSED} The server was asked for more than it takes, and refused some: that cost is in the figure.",
}

PEERS: Final = "#b4bdc6"
COLOURS: Final = dict(zip((VARDE, *DURABLE_PEERS), ("c1", "c2", "c3"), strict=True))
DPI: Final = 160
_LIMIT: Final[dict[str, Any]] = {"color": LIGHT["limit"], "linewidth": 1.2, "linestyle": DASHED, "zorder": 0.9}
_LIMIT_WORDS: Final[dict[str, Any]] = {"color": LIGHT["limit"], "fontsize": 8.5, "va": "bottom"}
_SOFT: Final[dict[str, Any]] = {"color": LIGHT["soft"], "fontsize": 9}
_LOADS: Final = {"light": "Light load: 20,000 deliveries/s", "saturated": "Saturated: 200,000 deliveries/s"}
_LIMITS: Final = {"light": 1.0, "saturated": 0.6}  # the targets, as multiples of picows
_DIRECT_LIMIT: Final = 1.3


def write_report(results: Results, folder: Path) -> Path:
    """Write the report with its charts into a folder and return where."""
    charts, path = draw_charts(results, folder), folder / TABLE
    path.write_text(f"# Benchmark\n\n{report_of(results, charts)}", encoding="utf-8")
    return path


def publish(results: Results, folder: Path, page: Path = PAGE) -> None:
    """Put report and charts of a folder into the page. Raises CouldNotRun for a page without the marks."""
    pictures, charts = page.parent / PICTURES, draw_charts(results, folder)
    pictures.mkdir(exist_ok=True)
    for chart in charts:
        shutil.copy(chart, pictures)
    before, _, after = split_page(page, "make bench")
    page.write_text(f"{before}\n\n{report_of(results, charts, f'{PICTURES}/')}\n{after}", encoding="utf-8")


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


def draw_charts(results: Results, folder: Path) -> list[Path]:
    """Draw every chart there are figures for, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with mpl.rc_context(STYLE):
        for name, draw_picture in CHARTS.items():
            if (picture := draw_picture(results)) is not None:
                drawn.append(folder / f"{name}.png")
                drawn[-1].write_bytes(png_of(picture, DPI))
    return drawn


def _fan_out(results: Results) -> Figure | None:
    found = (results.find("fanout") or {}).items()
    costs = [{name: point[load]["us_per_delivery"] for name, point in found if load in point} for load in _LOADS]
    return _bar_charts(list(zip(_LOADS.values(), costs, _LIMITS.values(), strict=True)), "delivery")


def _direct(results: Results) -> Figure | None:
    costs = {name: point["us_per_message"] for name, point in (results.find("direct") or {}).items()}
    return _bar_charts([("One to one, 16,000 messages/s offered", costs, _DIRECT_LIMIT)], "message")


def _bar_charts(panels: list[tuple[str, dict[str, float], float]], each: str) -> Figure | None:
    """Draw panels side by side: a title, the costs of servers, and the target as a multiple of picows."""
    if not all(costs for _, costs, _ in panels):
        return None
    height = 1.2 + 0.4 * max(len(costs) for _, costs, _ in panels)
    picture = Figure(figsize=(3.4 + 4.4 * len(panels), height), layout=layout())
    grid = picture.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, costs, limit) in zip(grid, panels, strict=True):
        axes.set_title(title)
        axes.set_xlabel(f"µs of server CPU for each {each} (x: of picows)", **_SOFT)
        _bars(axes, costs, limit)
    return picture


def _bars(axes: Axes, costs: Mapping[str, float], limit: float) -> None:
    """Draw one bar for each server, the cheapest on top."""
    names, reference = sorted(costs, key=costs.__getitem__, reverse=True), costs.get("picows")
    colours = [LIGHT["c1"] if name == VARDE else PEERS for name in names]
    bars = axes.barh(range(len(names)), [costs[name] for name in names], color=colours)
    axes.set_yticks(range(len(names)), [title_of(name) for name in names])
    ratios = [f"   {costs[name] / reference:.2f}x" if reference and name != "picows" else "" for name in names]
    axes.bar_label(bars, [f"{costs[name]:.3g}{ratio}" for name, ratio in zip(names, ratios, strict=True)], padding=7)
    if reference:
        axes.axvline(limit * reference, **_LIMIT)
        across = axes.get_xaxis_transform()
        axes.text(limit * reference, 0.99, f" target: {limit:g}x picows", **_LIMIT_WORDS, transform=across)
    axes.set_xlim(0, max(costs.values()) * 1.3)
    axes.grid(axis="x")


def _latency(results: Results) -> Figure | None:
    curves = {name: results.find(f"durable.{name}.at.1000.curve") for name in results.find("durable") or {}}
    lines = [
        Line(title_of(name), COLOURS.get(name, "soft"), [(place, ms) for place, ms in curve if place < 100])  # noqa: PLR2004 - the end of the axis
        for name, curve in curves.items()
        if curve
    ]
    if not lines:
        return None
    picture = Figure(figsize=(8.2, 4.8), layout=layout())
    axes = picture.subplots()
    axes.set_title("Durable, 1,000 messages/s: from send to receive")
    axes.set_xlabel("of all messages were received within", **_SOFT)
    axes.set_ylabel("milliseconds", **_SOFT)
    draw(axes, Chart(title="", unit="ms", lines=lines, latency=True))
    axes.legend(fontsize=8, loc="upper left")
    return picture


CHARTS: Final[dict[str, Callable[[Results], Figure | None]]] = {
    "fan-out": _fan_out,
    "direct": _direct,
    "latency": _latency,
}
