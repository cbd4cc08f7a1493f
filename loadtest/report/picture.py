"""The main charts of a run on one page, as PNG, for a page of documentation or a message."""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from loadtest.report.distribution import curve_of
from loadtest.report.page.figures import clock, duration, figure, milliseconds
from loadtest.report.page.keys import KINDS, PLACES
from loadtest.report.page.latency import main_kind, objectives_of
from loadtest.report.page.seconds import Reading, Seconds
from loadtest.report.result import Latency, Result, Sample, Verdict

DPI: Final = 150
INK: Final = "#1c2127"
SOFT: Final = "#5d6773"
GRID: Final = "#e6e9ec"
LIMIT: Final = "#c8452d"
GREEN: Final = "#0b7a5f"
BLUE: Final = "#2f6fd0"
GREY: Final = "#6b7683"
COLOURS: Final = (GREEN, BLUE, "#b7791f", "#8a4fbf", "#c2417c", GREY, "#0d8a9e", "#7a8b1f")
VERDICTS: Final = {Verdict.MET: GREEN, Verdict.MISSED: "#b3261e", Verdict.INVALID: "#8f5a00", Verdict.FAILED: "#8f5a00"}
_STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.3,
}
_NINES: Final = (0.0, 90.0, 99.0, 99.9, 99.99, 99.999)


def picture_of(result: Result) -> bytes:
    """Return the PNG. What was not measured has an empty panel that says so."""
    with mpl.rc_context(_STYLE):
        page = Figure(
            figsize=(11.5, 10.6), layout=ConstrainedLayoutEngine(h_pad=0.14, w_pad=0.14, rect=(0, 0, 1, 0.92))
        )
        _head(page, result)
        seconds = Seconds(result)
        panels = page.subplots(3, 2).flat
        for axes, draw in zip(panels, _PANELS, strict=True):
            draw(axes, result, seconds)
            if not axes.lines:
                axes.set_axis_off()
                axes.text(0, 0.5, "nothing was measured", color=SOFT, transform=axes.transAxes)
        written = io.BytesIO()
        page.savefig(written, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return written.getvalue()


def _head(page: Figure, result: Result) -> None:
    page.text(0.022, 0.972, result.title or result.scenario, fontsize=15, weight="bold", va="center")
    verdict = "could not run" if result.verdict is Verdict.FAILED else result.verdict.value
    page.text(0.98, 0.972, verdict.upper(), fontsize=15, weight="bold", va="center", ha="right").set_color(
        VERDICTS[result.verdict]
    )
    page.text(0.022, 0.943, "   ".join(_told(result)), fontsize=9, color=SOFT, va="center")


def _told(result: Result) -> Iterator[str]:
    kind = main_kind(result)
    latency: Latency = getattr(result.latency_ms, kind)
    yield f"{result.scenario}, {duration(result.seconds)}"
    yield f"{result.users.connected:,} connected"
    if result.rate.target_per_second:
        yield f"{figure(result.rate.achieved_per_second)} of {figure(result.rate.target_per_second)} per second"
    yield f"p50 {milliseconds(latency.p50)}, p99 {milliseconds(latency.p99)}, max {milliseconds(latency.max)}"
    if result.messages.due:
        faults = (result.messages.lost, result.messages.duplicated, result.messages.disordered)
        yield "lost, twice, out of order: " + ", ".join(map(str, faults))


def _percentiles(axes: Axes, result: Result, _: Seconds) -> None:
    kind = main_kind(result)
    _title(axes, f"{dict(KINDS)[kind]}: percentiles, ms")
    raw = getattr(result.latency_ms, f"raw_{kind}", Latency())
    for latency, name, colour, dashes in (
        (raw, "raw", GREY, (0, (4, 3))),
        (getattr(result.latency_ms, kind), "corrected", GREEN, "solid"),
    ):
        curve = [(place, value) for place, value in curve_of(latency) if place < 100]  # noqa: PLR2004 - has no place
        if curve:
            axes.plot(*zip(*((1 / (1 - place / 100), value) for place, value in curve), strict=True), color=colour)
            axes.lines[-1].set(label=name, linestyle=dashes)
    if not axes.lines:
        return
    axes.set(xscale="log", yscale="log")
    most = max(float(line.get_xdata()[-1]) for line in axes.lines)  # type: ignore[index, arg-type] # an array, whatever its type says
    nines = [place for place in _NINES if 1 / (1 - place / 100) <= most * 1.01]
    axes.set_xticks([1 / (1 - place / 100) for place in nines], [f"{place:g} %" for place in nines])
    axes.xaxis.set_minor_formatter(NullFormatter())
    _milliseconds(axes)
    before = 1.0
    for place, objective in objectives_of(result, kind):
        until = most if place == PLACES["max"] else 1 / (1 - place / 100)
        axes.hlines(objective.limit, before, until, color=LIMIT, linestyle=(0, (5, 3)), linewidth=1.2)
        axes.annotate(f"SLO p{place:g}", (before, objective.limit), (3, 3), textcoords="offset points", color=LIMIT)
        before = until
    _legend(axes)


def _latency(axes: Axes, result: Result, seconds: Seconds) -> None:
    _title(axes, f"{dict(KINDS)[main_kind(result)]}, by second, ms")
    axes.set_yscale("log")
    _series(axes, seconds, ("p50", BLUE, lambda sample: sample.p50_ms), ("p99", GREEN, lambda sample: sample.p99_ms))
    if not axes.lines:
        return
    _milliseconds(axes)
    for place, objective in objectives_of(result, main_kind(result)):
        if place == PLACES["p99"]:
            axes.axhline(objective.limit, color=LIMIT, linestyle=(0, (5, 3)), linewidth=1.2, label="SLO p99")
    _legend(axes)


def _connections(axes: Axes, _: Result, seconds: Seconds) -> None:
    _title(axes, "Connections")
    _series(
        axes,
        seconds,
        ("asked for", GREY, lambda sample: sample.users),
        ("connected", GREEN, lambda sample: sample.connected),
    )


def _throughput(axes: Axes, result: Result, seconds: Seconds) -> None:
    _title(axes, "Requests each second" if result.endpoints else "Messages each second")
    received: tuple[str, str, Reading] = ("received", GREEN, lambda sample: sample.received_per_second)
    sent: tuple[str, str, Reading] = ("sent", BLUE, lambda sample: sample.sent_per_second)
    _series(axes, seconds, *((sent,) if result.endpoints else (received, sent)))


def _server(measure: str, title: str) -> Callable[[Axes, Result, Seconds], None]:
    def draw(axes: Axes, _: Result, seconds: Seconds) -> None:
        _title(axes, title)
        keys = sorted({key for sample in seconds.samples for key in sample.server if key.endswith(f".{measure}")})
        _series(axes, seconds, *((key.rpartition(".")[0], colour, _of(key)) for key, colour in zip(keys, COLOURS)))  # noqa: B905 - as many as there are colours

    return draw


def _of(key: str) -> Reading:
    return lambda sample: sample.server.get(key)


def _series(axes: Axes, seconds: Seconds, *lines: tuple[str, str, Callable[[Sample], float | None]]) -> None:
    """A gap is drawn as one: matplotlib leaves out what is not a number."""
    for name, colour, read in lines:
        points = seconds.line(name, 1, read, joined=max).points
        if any(value is not None for _, value in points):
            values = [float("nan") if value is None else value for _, value in points]
            axes.plot([at for at, _ in points], values, color=colour, label=name)
    if axes.lines:
        _shade(axes, seconds)
        axes.set_ylim(bottom=0 if axes.get_yscale() == "linear" else None)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        _legend(axes)


def _shade(axes: Axes, seconds: Seconds) -> None:
    for band in seconds.bands:
        if band.judged:
            axes.axvspan(band.began, band.until, color=GREEN, alpha=0.07, linewidth=0)
    for event in seconds.events:
        axes.axvline(event.at, color="#c2417c", linewidth=1, linestyle=":")
    places = [(place, text) for place, text in seconds.axis.marks]
    until = max([1.0, *(band.until for band in seconds.bands), *(sample.at_s for sample in seconds.samples[-1:])])
    axes.set_xlim(0, until)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: clock(at)))
    axes.set_xticks(_ticks(places, until))


def _ticks(marks: Sequence[tuple[float, str]], until: float) -> list[float]:
    return [place * until for place, _ in marks]


def _legend(axes: Axes) -> None:
    """Beside the title, where no line can be behind it."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.01, 0.99), ncols=5, columnspacing=1.2, handlelength=1.4)


def _milliseconds(axes: Axes) -> None:
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _title(axes: Axes, words: str) -> None:
    axes.set_title(words, pad=8)


_PANELS: Final[tuple[Callable[[Axes, Result, Seconds], None], ...]] = (
    _percentiles,
    _latency,
    _connections,
    _throughput,
    _server("cpu_percent", "Server CPU, % of a core"),
    _server("rss_mib", "Server memory, MiB"),
)
