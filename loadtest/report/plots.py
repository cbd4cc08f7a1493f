"""Charts with matplotlib, for both load rooms: SVG that follows the page's colours, and PNG for documents.

An SVG names no colour: what is drawn in a colour of `LIGHT` becomes a CSS variable of the same name, so that one
picture serves a light page and a dark one.
"""

import io
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from msgspec import Struct
from PIL import Image

from loadtest.report.formatting import clock, figure

# On a light page and on a dark one.
_COLOURS: Final = {
    "ink": ("#1c2127", "#e8ecf0"),
    "soft": ("#5d6773", "#9aa6b2"),
    "grid": ("#e6e9ec", "#29313a"),
    "limit": ("#c8452d", "#ff7a5f"),
    "floor": ("#8c2318", "#ff9d8a"),
    "c1": ("#0b7a5f", "#3ecf9f"),
    "c2": ("#2f6fd0", "#6aa8ff"),
    "c3": ("#b7791f", "#f0b64a"),
    "c4": ("#8a4fbf", "#c39bf0"),
    "c5": ("#c2417c", "#f08bb6"),
    "c6": ("#6b7683", "#9fb0c0"),
    "c7": ("#0d8a9e", "#4ccbe0"),
    "c8": ("#7a8b1f", "#bcd057"),
}
LIGHT: Final = {name: light for name, (light, _) in _COLOURS.items()}
DARK: Final = {name: dark for name, (_, dark) in _COLOURS.items()}
STYLE: Final[Any] = mpl.rc_params_from_file(Path(__file__).with_name("report.mplstyle"), use_default_template=False)
DASHED: Final = (0, (4, 3))
_NINES: Final = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
_STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400)
_TIMES: Final = 6  # marks on an axis of time: as many as a phone has room for
_WIDE: Final = 20.0  # from this ratio of the largest to the smallest on, a linear axis would hide the small ones
_NEAR_END: Final = 0.7  # of an axis: words that begin further to the right would leave the chart, and end at it instead
_SIZE: Final = (420, 205)
_INSIDE: Final = {"left": 0.125, "right": 0.985, "bottom": 0.115, "top": 0.97}


class Line(NamedTuple):
    """`colour` is a name of `LIGHT`. A gap is a point whose value is None."""

    name: str
    colour: str
    points: Sequence[tuple[float, float | None]]
    dashed: bool = False
    filled: bool = False

    @property
    def most(self) -> float | None:
        """The largest value, which the legend of a chart over time names."""
        return max((value for _, value in self.points if value is not None), default=None)


class Band(NamedTuple):
    """A stage, in seconds."""

    name: str
    began: float
    until: float
    judged: bool = False


class Level(NamedTuple):
    """A limit: the corners of a line, and a name that stands above it from its beginning on."""

    steps: Sequence[tuple[float, float]]
    name: str = ""
    colour: str = "limit"


class Chart(Struct, frozen=True, kw_only=True):
    """One picture. `x` of its points are seconds of a run up to `until`, or percentiles where that is 0."""

    title: str
    unit: str
    lines: Sequence[Line]
    bands: Sequence[Band] = ()
    levels: Sequence[Level] = ()
    events: Sequence[tuple[str, float]] = ()
    until: float = 0.0
    latency: bool = False  # logarithmic, where a linear axis would hide what is small
    note: str = ""

    def place(self, x: float) -> float:
        """Return where `x` stands on the horizontal axis: percentiles by how few are beyond, as HdrHistogram does."""
        return x if self.until else -math.log10(max(1e-9, 1 - x / 100))

    @property
    def end(self) -> float:
        """The last place on the horizontal axis."""
        return self.until or max((self.place(x) for line in self.lines for x, _ in line.points), default=1.0)


def draw(axes: Axes, chart: Chart) -> None:
    """Draw everything but the title and the legend."""
    above = axes.get_xaxis_transform()
    for number, band in enumerate(chart.bands):
        colour, alpha = LIGHT["c1" if band.judged else "soft"], (0.07 if band.judged else 0.03) + 0.04 * (number % 2)
        axes.axvspan(band.began, band.until, color=colour, alpha=alpha, linewidth=0)
        if band.until - band.began >= 0.016 * chart.until * (len(band.name) + 1):
            axes.text(band.began, 0.985, f" {band.name}", transform=above, va="top", size=8, color=colour, gid="stage")
    for name, at in chart.events:
        axes.axvline(at, color=LIGHT["c5"], linewidth=1.1, linestyle=(0, (3, 3)))
        side, words = ("right", f"{name} ") if at > _NEAR_END * chart.until else ("left", f" {name}")
        axes.text(at, 0.87, words, transform=above, va="top", ha=side, color=LIGHT["c5"], gid="event")
    for level in chart.levels:
        places, heights = zip(*((chart.place(x), value) for x, value in level.steps), strict=True)
        axes.plot(places, heights, color=LIGHT[level.colour], linewidth=1.2, linestyle=(0, (5, 3)), zorder=1.5)
        at, side, away = (chart.end, "right", -4) if places[0] > _NEAR_END * chart.end else (places[0], "left", 4)
        looks: dict[str, Any] = {"ha": side, "color": LIGHT[level.colour], "fontsize": 8.5, "gid": "limit"}
        axes.annotate(level.name, (at, heights[0]), (away, 3), textcoords="offset points", **looks)
    for line in chart.lines:
        values = [math.nan if value is None else value for _, value in line.points]
        style: dict[str, Any] = {"linewidth": 1.3, "linestyle": DASHED if line.dashed else "solid"}
        axes.plot([chart.place(x) for x, _ in line.points], values, color=LIGHT[line.colour], label=line.name, **style)
        if line.filled:
            axes.fill_between([x for x, _ in line.points], values, color=LIGHT[line.colour], alpha=0.12, linewidth=0)
    _set_vertical(axes, chart)
    _set_horizontal(axes, chart)


def _set_vertical(axes: Axes, chart: Chart) -> None:
    shown = (*(level.steps for level in chart.levels), *(line.points for line in chart.lines))
    positive = [value for points in shown for _, value in points if value]
    if chart.latency and positive and max(positive) / min(positive) >= _WIDE:
        decades = math.log10(max(positive) / min(positive))
        axes.set_yscale("log")
        axes.set_ylim(min(positive) * 0.9, max(positive) * 10 ** (0.14 * decades))  # above the lines stand names
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.2 else (1, 3)))  # noqa: PLR2004 - more would touch
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, 1.25 * max(positive, default=1.0))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: figure(value)))
    axes.grid(axis="y")


def _set_horizontal(axes: Axes, chart: Chart) -> None:
    axes.set_xlim(0, chart.end)
    if chart.until:
        step = next((step for step in _STEPS if chart.until / step <= _TIMES), chart.until / _TIMES)
        marks = [step * n for n in range(math.floor(chart.until / step) + 1)]
        axes.set_xticks(marks, [clock(at) for at in marks])
    else:
        nines = [nine for nine in _NINES if chart.place(nine) <= chart.end and (nine != 50 or chart.end < 3)]  # noqa: PLR2004 - it would touch 0 %
        axes.set_xticks([chart.place(nine) for nine in nines], [f"{nine:g} %" for nine in nines])


def svg_of(chart: Chart) -> str:
    """Return the SVG without title and legend."""
    picture = Figure(figsize=(_SIZE[0] / 72, _SIZE[1] / 72))
    with mpl.rc_context(STYLE):
        picture.subplots_adjust(**_INSIDE)
        draw(picture.subplots(), chart)
        return _svg(picture, f'role="img" aria-label="{escape(chart.title)}"')


def sparkline_of(values: Sequence[float]) -> str:
    """Return a small line without axes, its last point marked, as SVG."""
    picture = Figure(figsize=(120 / 72, 28 / 72))
    with mpl.rc_context(STYLE):
        axes = picture.add_axes((0.02, 0.1, 0.94, 0.8))
        axes.set_axis_off()
        axes.set_ylim(0, 1.1 * max(values))
        axes.plot(range(len(values)), values, color=LIGHT["c1"], linewidth=1.4)
        axes.scatter([len(values) - 1], [values[-1]], s=10, color=LIGHT["c1"], zorder=2)
        return _svg(picture, 'aria-hidden="true"')


def _svg(picture: Figure, attributes: str) -> str:
    """The SVG alone, shorter: colours by name, few ids (a page has many pictures), a digit behind the point."""
    written = io.StringIO()
    picture.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    width, height = picture.get_size_inches() * 72
    text = written.getvalue().partition("<svg ")[2].partition(">")[2]
    text = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>", "", text, flags=re.DOTALL)
    # Clipping and what is drawn twice need their ids; the style sheet asks for three of ours as classes.
    text = re.sub(r' id="(?![mp][0-9a-f]{10}"|(?:stage|limit|event)")[^"]*"', "", text)
    text = re.sub(r' id="(stage|limit|event)"', r' class="\1"', text)
    text = re.sub(r' d="[^"]*"', lambda d: " " + re.sub(r"(\.\d)\d+", r"\1", " ".join(d[0].split())), text)
    for name, colour in LIGHT.items():
        text = text.replace(colour, f"var(--{name})")
    return f'<svg {attributes} viewBox="0 0 {width:.0f} {height:.0f}">' + re.sub(r">\s+<", "><", text)


def sheet_of(charts: Sequence[Chart], title: str) -> Figure:
    """Return charts on one sheet, two in a row, below a title."""
    rows = max(1, -(-len(charts) // 2))
    with mpl.rc_context({**STYLE, "font.size": 9}):
        picture = Figure(figsize=(11.5, 1 + 3.1 * rows), layout=layout())
        picture.suptitle(title, fontsize=12, weight="bold")
        for axes in picture.subplots(rows, 2).flat[len(charts) :]:
            axes.set_axis_off()
        for axes, chart in zip(picture.axes, charts, strict=False):
            axes.set_title(f"{chart.title}, {chart.unit}" if chart.unit else chart.title)
            draw(axes, chart)
            named = [line for line in axes.lines if str(line.get_label())[0] != "_"]
            axes.legend(handles=named, fontsize=8, loc="lower right", bbox_to_anchor=(1.01, 0.985), ncols=5)
    return picture


def layout() -> ConstrainedLayoutEngine:
    """Return a layout with some air around the axes."""
    return ConstrainedLayoutEngine(w_pad=0.16, h_pad=0.14)


def png_of(picture: Figure, dpi: int, colours: int | None = None) -> bytes:
    """Return a PNG; with so many colours at most it is a third as large."""
    written = io.BytesIO()
    with mpl.rc_context(STYLE):
        picture.savefig(written, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    if colours is None:
        return written.getvalue()
    smaller = io.BytesIO()
    Image.open(written).convert("RGB").quantize(colours).save(smaller, format="PNG", optimize=True)
    return smaller.getvalue()
