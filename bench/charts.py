"""The charts of a run as PNG files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.catalogue import CATALOGUE, VARDE
from bench.results import Results
from bench.tables import figure as digits

INK: Final = "#22272e"
FAINT: Final = "#8a939d"
GRID: Final = "#e6e9ec"
OURS: Final = "#0b7a5f"
PEERS: Final = "#b4bdc6"
TARGET: Final = "#c8452d"
LINES: Final = {
    VARDE: OURS,
    "picows": "#3b6fb6",
    "websockets": "#8f63b8",
    "starlette": "#c28a1b",
    "websockets-trio": "#5aa9a5",
    "trio-websocket": "#a0522d",
    "node-ws": "#6b8e23",
    "epoll-floor": FAINT,
    "mosquitto": "#3b6fb6",
    "mosquitto_each_second": "#8fb0dd",
    "ejabberd": "#c28a1b",
}
DPI: Final = 160
APART: Final = 0.055
"""Of the height of a chart: between two names."""
MEMORY: Final = 16
"""KiB for an idle connection: the target."""
_DASHED: Final[dict[str, Any]] = {"linewidth": 1.2, "linestyle": (0, (4, 3)), "zorder": 0.9}
_PLATE: Final[dict[str, Any]] = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
_SMALL: Final[dict[str, Any]] = {"color": TARGET, "fontsize": 8.5}

_STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": FAINT,
    "ytick.color": INK,
    "grid.color": GRID,
    "legend.frameon": False,
}


def draw_charts(results: Results, folder: Path) -> list[Path]:
    """Draw every chart there are figures for, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with mpl.rc_context(_STYLE):
        for name, draw in CHARTS.items():
            picture = draw(results)
            if picture is not None:
                path = folder / f"{name}.png"
                picture.savefig(path, dpi=DPI, facecolor="white")
                drawn.append(path)
    return drawn


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.16, h_pad=0.14)


def _title(name: str) -> str:
    return next((entry.title for entry in CATALOGUE if entry.name == name), name.replace("_", ", "))


def _draw_fan_out(results: Results) -> Figure | None:
    panels = (("light", "20,000 deliveries/s", 1.0), ("saturated", "200,000 deliveries/s", 0.6))
    found = [_costs(results, "fanout", load, "us_per_delivery") for load, _, _ in panels]
    if not all(found):
        return None
    picture = Figure(figsize=(11.6, 1.2 + 0.4 * max(map(len, found))), layout=_layout())
    for axes, (_, load, limit), costs in zip(picture.subplots(1, 2), panels, found, strict=True):
        axes.set_title(f"Room of 100, {load}")
        _bars(axes, costs, "µs of server CPU for each delivery (x: of picows)", limit)
    return picture


def _draw_direct(results: Results) -> Figure | None:
    costs = {
        name: float(point["us_per_message"]) for name, point in (results.find("direct") or {}).items() if name in LINES
    }
    if not costs:
        return None
    picture = Figure(figsize=(8.2, 1.2 + 0.4 * len(costs)), layout=_layout())
    axes = picture.subplots()
    axes.set_title("One to one, 16,000 messages/s offered")
    _bars(axes, costs, "µs of server CPU for each message (x: of picows)", 1.3)
    return picture


def _costs(results: Results, dimension: str, load: str, key: str) -> dict[str, float]:
    found = results.find(dimension) or {}
    return {name: float(point[load][key]) for name, point in found.items() if load in point}


def _bars(axes: Axes, costs: dict[str, float], label: str, limit: float) -> None:
    """Draw one bar for each server, the cheapest on top, and the target as a multiple of picows."""
    names = sorted(costs, key=costs.__getitem__, reverse=True)
    values, reference = [costs[name] for name in names], costs.get("picows")
    axes.barh(range(len(names)), values, color=[OURS if name == VARDE else PEERS for name in names], height=0.66)
    axes.set_yticks(range(len(names)), [_title(name) for name in names])
    axes.tick_params(axis="both", length=0)
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        ratio = f"   {value / reference:.2f}x" if reference and name != "picows" else ""
        weight = "bold" if name == VARDE else "normal"
        words = axes.annotate(
            f"{digits(value)}{ratio}", (value, place), (7, 0), textcoords="offset points", va="center"
        )
        words.set(bbox=_PLATE, fontsize=9, weight=weight)
    if reference:
        axes.axvline(limit * reference, color=TARGET, **_DASHED)
        across = axes.get_xaxis_transform()
        axes.text(limit * reference, 1.0, f" target: {limit:g}x picows", **_SMALL, transform=across, va="bottom")
    axes.set_xlim(0, max(values) * 1.3)
    axes.set_xlabel(label, color=FAINT, fontsize=9)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def _draw_sizes(results: Results) -> Figure | None:
    panels = {"light": "Light load", "saturated": "Saturated"}
    found = {load: _by_size(results, load) for load in panels}
    if not all(any(len(line) > 1 for line in lines.values()) for lines in found.values()):
        return None
    picture = Figure(figsize=(11.6, 4.8), layout=_layout())
    for axes, (load, title) in zip(picture.subplots(1, 2, sharey=True), panels.items(), strict=True):
        axes.set_title(title)
        axes.set_xscale("log")
        axes.set_yscale("log")
        _lines(axes, found[load])
        axes.set_xticks([2, 10, 100, 1_000], ["2", "10", "100", "1,000"])
        axes.set_yticks([1, 2, 5, 10, 20, 50, 100, 200], ["1", "2", "5", "10", "20", "50", "100", "200"])
        axes.set_xlabel("members of the room", color=FAINT, fontsize=9)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
    _names(picture.axes[1], found["saturated"])
    picture.axes[0].set_ylabel("µs of server CPU for each delivery", color=FAINT, fontsize=9)
    return picture


def _by_size(results: Results, load: str) -> dict[str, list[tuple[float, float]]]:
    lines = {}
    for name, point in (results.find("fanout") or {}).items():
        rooms = (point.get(load) or {}).get("rooms") or {}
        lines[name] = sorted((float(size), float(each["us_per_delivery"])) for size, each in rooms.items())
    return lines


def _draw_memory(results: Results) -> Figure | None:
    lines = {
        name: [(float(each["connections"]), float(each["rss_kib_per_connection"])) for each in point["growth"]]
        for name, point in (results.find("idle") or {}).items()
    }
    if not any(len(line) > 1 for line in lines.values()):
        return None
    picture = Figure(figsize=(8.2, 4.8), layout=_layout())
    axes = picture.subplots()
    axes.set_title("Memory of an idle connection, as they grow in number")
    _lines(axes, lines)
    axes.set_ylim(0, 1.12 * max(value for line in lines.values() for _, value in line))
    axes.axhline(MEMORY, color=TARGET, **_DASHED)
    axes.text(0.01, MEMORY, f"target: {MEMORY} KiB", **_SMALL, transform=axes.get_yaxis_transform(), va="bottom")
    counts = sorted({count for line in lines.values() for count, _ in line})
    axes.set_xticks(counts, [f"{count:,.0f}" for count in counts])
    axes.set_xlabel("connections", color=FAINT, fontsize=9)
    axes.set_ylabel("KiB of RSS for each", color=FAINT, fontsize=9)
    _names(axes, lines)
    return picture


def _draw_latency(results: Results) -> Figure | None:
    lines = {}
    for name, found in (results.find("durable") or {}).items():
        curve = ((found.get("at") or {}).get("1000") or {}).get("curve") or []
        lines[name] = [(1 / (1 - float(place) / 100), float(ms)) for place, ms in curve if float(place) < 100]  # noqa: PLR2004 - the end of the axis
    if not any(lines.values()):
        return None
    picture = Figure(figsize=(8.2, 4.8), layout=_layout())
    axes = picture.subplots()
    axes.set_title("Durable, 1,000 messages/s: from send to receive")
    axes.set_xscale("log")
    axes.set_yscale("log")
    _lines(axes, lines)
    places = {"50 %": 2, "90 %": 10, "99 %": 100, "99.9 %": 1_000, "99.99 %": 10_000}
    axes.set_xticks(list(places.values()), list(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("of all messages were received within", color=FAINT, fontsize=9)
    axes.set_ylabel("milliseconds", color=FAINT, fontsize=9)
    _names(axes, lines)
    return picture


def _lines(axes: Axes, lines: dict[str, list[tuple[float, float]]]) -> None:
    """Draw one line for each server."""
    drawn = {name: line for name, line in lines.items() if line}
    for name, line in drawn.items():
        ours = name == VARDE
        width: dict[str, Any] = (
            {"linewidth": 2.4, "markersize": 5, "zorder": 3} if ours else {"linewidth": 1.5, "markersize": 3.5}
        )
        axes.plot(*zip(*line, strict=True), color=LINES.get(name, FAINT), marker="o", **width)
    axes.grid(axis="y")
    axes.tick_params(axis="both", length=0)


def _names(axes: Axes, lines: dict[str, list[tuple[float, float]]]) -> None:
    """Write the names beside the ends of the lines, far enough from each other to be read. The limits stay as now."""
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    ends = {name: line[-1] for name, line in lines.items() if line}
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = {name: float(to_axes.transform(end)[1]) for name, end in ends.items()}
    below = -1.0
    for name in sorted(heights, key=heights.__getitem__):
        below = max(heights[name], below + APART)
        words = axes.text(1.02, below, _title(name), transform=axes.transAxes, va="center", fontsize=8.5)
        words.set(color=LINES.get(name, FAINT), weight="bold" if name == VARDE else "normal")


CHARTS: Final[dict[str, Callable[[Results], Figure | None]]] = {
    "fan-out": _draw_fan_out,
    "room-sizes": _draw_sizes,
    "direct": _draw_direct,
    "memory": _draw_memory,
    "latency": _draw_latency,
}
