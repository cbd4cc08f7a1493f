"""Charts with matplotlib: how one is drawn, for both load rooms, and which a run has and what each shows.

One is an SVG that follows the page's colours, or a PNG for documents.

An SVG names no colour: what is drawn in a colour of `LIGHT` becomes a CSS variable of the same name, so that one
picture serves a light page and a dark one.
"""

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from html import escape
from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from msgspec import Struct
from PIL import Image

from loadtest.exits import Verdict
from loadtest.report.formatting import KINDS, PERCENTILES, WORDS, clock, figure, milliseconds, unit_of
from loadtest.report.result import Latency, Objective, Result, Sample

LIGHT: Final = WORDS["light"]
DARK: Final = WORDS["dark"]
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


MOST_POINTS: Final = 300  # in a line over time: as many as an eye can tell apart
_FAR: Final = 4.0  # a floor this many times higher than anything measured is told in words, and not drawn

Reading = Callable[[Sample], float | None]


def main_latency(result: Result) -> tuple[str, Latency]:
    """Return the latency that a scenario is about, and its kind: the first that it measured."""
    latencies = [(kind, getattr(result.latency_ms, kind)) for kind in KINDS]
    return next(((kind, latency) for kind, latency in latencies if latency.count), latencies[0])


def percentiles_of(result: Result, kind: str) -> Chart:
    """Return the curve of one kind of latency, corrected beside raw, against its objectives."""
    latency: Latency = getattr(result.latency_ms, kind)
    raw: Latency = getattr(result.latency_ms, f"raw_{kind}", Latency())
    # Of 1,000 measurements no more than 99.9 % is known, and 100 % would be infinitely far.
    curve, raw_curve = ([at for at in each.curve if each.count * (100 - at[0]) >= 100] for each in (latency, raw))  # noqa: PLR2004
    lines = [Line("corrected" if raw.count else "measured", "c1", curve)]
    lines += [Line("raw", "c6", raw_curve, dashed=True)] if raw.count else []
    most = max((value for _, value in curve + raw_curve), default=0.0)
    levels, began = list[Level](), 0.0
    for place, objective in _objectives(result, kind):  # stairs, each step as far as its percentile reaches
        levels += _levels(place, objective, (began, place), most)
        began = place
    note = f"{latency.count:,} measured. Each step to the right is a tenth of those who still waited."
    title = f"{KINDS[kind]}, percentiles"
    return Chart(title=title, unit="ms", lines=lines, levels=levels, latency=True, note=note)


def _objectives(result: Result, kind: str, prefix: str = "") -> list[tuple[float, Objective]]:
    """Return the objectives of one kind of latency with their percentiles, rising; of a stage, with its prefix."""
    found = {f"{prefix}latency_ms.{kind}.{name}": place for name, place in PERCENTILES.items()}
    lines = [(found[each.key], each) for each in result.objectives if each.key in found]
    return sorted(lines, key=lambda line: line[0])


def _levels(place: float, objective: Objective, between: tuple[float, float], most: float) -> Iterator[Level]:
    name = "max" if place == PERCENTILES["max"] else f"p{place:g}"
    for word, colour, height in (("SLO", "limit", objective.limit), ("floor", "floor", objective.floor)):
        if height is not None and (word == "SLO" or height <= _FAR * max(most, objective.limit)):
            yield Level([(at, height) for at in between], f"{word}: {name} ≤ {milliseconds(height)}", colour)


class Timeline:
    """The samples of one result, in as many bins as are drawn, and what all charts over time share."""

    def __init__(self, result: Result) -> None:
        self.samples = result.series
        each = -(-len(self.samples) // MOST_POINTS) or 1
        self.bins = [self.samples[at : at + each] for at in range(0, len(self.samples), each)]
        self.bands = [Band(each.name, each.began_s, each.began_s + each.seconds, each.judged) for each in result.stages]
        ends = [*(band.until for band in self.bands), *(sample.at_s for sample in self.samples[-1:])]
        self.until = max([1.0, result.seconds, *ends])
        # The plan is as free as JSON is, so nothing is taken for granted; stages of both go in the same order.
        planned: Any = result.plan.get("stages")
        pairs = zip(result.stages, planned if isinstance(planned, list | tuple) else (), strict=False)
        acted = [(stage, plan.get("action")) for stage, plan in pairs if isinstance(plan, dict)]
        self.events = [(str(action), stage.began_s) for stage, action in acted if action]

    def chart(self, title: str, unit: str, lines: Sequence[Line], **more: Any) -> Chart:
        """Return a chart over the whole run."""
        shared: dict[str, Any] = {"until": self.until, "bands": self.bands, "events": self.events}
        return Chart(title=title, unit=unit, lines=lines, **shared, **more)

    def line(self, name: str, colour: str, read: Reading, *, worst: bool = False, **more: bool) -> Line:
        """Return one line: of each bin the mean, or the worst, so that no spike of a single second is lost."""
        points = []
        for part in self.bins:
            known = [value for sample in part if (value := read(sample)) is not None]
            points.append((part[0].at_s, (max if worst else fmean)(known) if known else None))
        return Line(name, colour, points, **more)


def latency_over_time(result: Result, timeline: Timeline) -> Chart | None:
    """Return what each second was like, with the SLO of p99 where it holds; None when no second had a latency."""
    p99 = timeline.line("p99", "c1", lambda sample: sample.p99_ms, worst=True)
    p50 = timeline.line("p50", "c2", lambda sample: sample.p50_ms, worst=True)
    most = max((value for _, value in p99.points if value is not None), default=None)
    if most is None:
        return None
    (kind, _), levels = main_latency(result), list[Level]()
    for band in (Band("", 0.0, timeline.until), *timeline.bands):
        for place, objective in _objectives(result, kind, f"stages.{band.name}." if band.name else ""):
            if place == PERCENTILES["p99"]:
                levels += _levels(place, objective, (band.began, band.until), most)
    note = "Corrected, of each second. Shaded green: the stages that are judged."
    return timeline.chart(f"{KINDS[kind]}, by second", "ms", [p99, p50], levels=levels, latency=True, note=note)


def load_of(result: Result, timeline: Timeline) -> list[Chart]:
    """Return connections and throughput over time."""
    connected = timeline.line("connected", "c1", lambda sample: sample.connected, filled=True)
    asked = timeline.line("users asked for", "c6", lambda sample: sample.users, dashed=True)
    charts = [timeline.chart("Connections", "", [connected, asked])] if timeline.samples else []
    if any(sample.sent_per_second or sample.received_per_second for sample in timeline.samples):
        rest = bool(result.endpoints)
        sent = timeline.line("done" if rest else "sent", "c2", lambda sample: sample.sent_per_second)
        received = timeline.line("received", "c1", lambda sample: sample.received_per_second)
        steps = [(at, s.target_per_second) for s in result.stages for at in (s.began_s, s.began_s + s.seconds)]
        planned = [Level(steps)] if any(rate for _, rate in steps) else []
        title = "Requests each second" if rest else "Messages each second"
        note = "The dashed line is what the plan offers." if planned else ""
        lines = [sent] if rest else [received, sent]
        charts.append(timeline.chart(title, "", lines, levels=planned, note=note))
    return charts


def server_of(timeline: Timeline) -> list[Chart]:
    """Return a chart for each measure of the servers, with a line for each process."""
    keys = {key for sample in timeline.samples for key in sample.server}
    processes = sorted({key.rpartition(".")[0] for key in keys})
    measures = {key.rpartition(".")[2] for key in keys}
    known = [measure for measure in WORDS["server"] if measure in measures]
    charts = []
    for measure in (*known, *sorted(measures - set(known))):
        unit, lines = unit_of(measure), []
        for number, process in enumerate(processes):
            if (key := f"{process}.{measure}".lstrip(".")) in keys:
                read = partial(lambda key, sample: sample.server.get(key), key)
                lines.append(timeline.line(process or "server", f"c{1 + number % 8}", read, worst=unit == "ms"))
        title = WORDS["server"].get(measure, measure.removesuffix("_ms").replace("_", " ").capitalize())
        charts.append(timeline.chart(title, unit, lines))
    return charts


def picture_of(result: Result, *, most: int = 6, dpi: int = 150, colours: int | None = None) -> bytes:
    """Return the main charts on one sheet as PNG. A run that measured nothing has a sheet that says so."""
    timeline, (kind, latency) = Timeline(result), main_latency(result)
    curve = percentiles_of(result, kind) if latency.count else None
    found = (curve, latency_over_time(result, timeline), *load_of(result, timeline), *server_of(timeline))
    charts = [chart for chart in found if chart is not None][:most]
    verdict = "could not run" if result.verdict is Verdict.FAILED else result.verdict.value
    words = [verdict.upper(), f"{result.users.connected:,} connected" if charts else "nothing was measured"]
    if latency.count:
        words.append(f"p50 {milliseconds(latency.p50)}, p99 {milliseconds(latency.p99)}")
    return png_of(sheet_of(charts, f"{result.title or result.scenario}\n{'; '.join(words)}"), dpi, colours)
