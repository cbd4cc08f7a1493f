"""The charts of a run as PNG files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.catalogue import VARDE, title_of
from bench.results import Results
from loadtest.report.plots import DASHED, LIGHT, STYLE, layout, png_of

Lines: TypeAlias = Mapping[str, list[tuple[float, float]]]
"""Points by server."""

PEERS: Final = "#b4bdc6"
COLOURS: Final = {
    VARDE: LIGHT["c1"],
    "picows": LIGHT["c2"],
    "websockets": LIGHT["c4"],
    "starlette": LIGHT["c3"],
    "websockets-trio": LIGHT["c7"],
    "trio-websocket": "#a0522d",
    "node-ws": LIGHT["c8"],
    "epoll-floor": LIGHT["c6"],
    "mosquitto": LIGHT["c2"],
    "mosquitto_each_second": "#8fb0dd",
}
DPI: Final = 160
APART: Final = 0.055
"""Of the height of a chart: between two names."""
MEMORY: Final = 16
"""KiB for an idle connection: the target."""
_LIMIT: Final[dict[str, Any]] = {"color": LIGHT["limit"], "linewidth": 1.2, "linestyle": DASHED, "zorder": 0.9}
_LIMIT_WORDS: Final[dict[str, Any]] = {"color": LIGHT["limit"], "fontsize": 8.5, "va": "bottom"}
_SOFT: Final[dict[str, Any]] = {"color": LIGHT["soft"], "fontsize": 9}
_LOADS: Final = (("light", "20,000 deliveries/s", 1.0), ("saturated", "200,000 deliveries/s", 0.6))


def draw_charts(results: Results, folder: Path) -> list[Path]:
    """Draw every chart there are figures for, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with mpl.rc_context(STYLE):
        for name, draw in CHARTS.items():
            picture = draw(results)
            if picture is not None:
                path = folder / f"{name}.png"
                path.write_bytes(png_of(picture, DPI, colours=64))
                drawn.append(path)
    return drawn


def _draw_fan_out(results: Results) -> Figure | None:
    fanout = results.find("fanout") or {}
    costs = [
        {name: point[load]["us_per_delivery"] for name, point in fanout.items() if load in point}
        for load, _, _ in _LOADS
    ]
    if not all(costs):
        return None
    picture = Figure(figsize=(11.6, 1.2 + 0.4 * max(map(len, costs))), layout=layout())
    for axes, (_, load, limit), each in zip(picture.subplots(1, 2), _LOADS, costs, strict=True):
        axes.set_title(f"Room of 100, {load}")
        _bars(axes, each, "µs of server CPU for each delivery (x: of picows)", limit)
    return picture


def _draw_direct(results: Results) -> Figure | None:
    costs = {name: float(point["us_per_message"]) for name, point in (results.find("direct") or {}).items()}
    if not costs:
        return None
    picture = Figure(figsize=(8.2, 1.2 + 0.4 * len(costs)), layout=layout())
    axes = picture.subplots()
    axes.set_title("One to one, 16,000 messages/s offered")
    _bars(axes, costs, "µs of server CPU for each message (x: of picows)", 1.3)
    return picture


def _bars(axes: Axes, costs: Mapping[str, float], label: str, limit: float) -> None:
    """Draw one bar for each server, the cheapest on top, and the target as a multiple of picows."""
    names = sorted(costs, key=costs.__getitem__, reverse=True)
    values, reference = [costs[name] for name in names], costs.get("picows")
    bars = axes.barh(range(len(names)), values, color=[COLOURS[VARDE] if name == VARDE else PEERS for name in names])
    axes.set_yticks(range(len(names)), [title_of(name) for name in names])
    axes.tick_params(axis="y", colors=LIGHT["ink"])
    ratios = [f"   {costs[name] / reference:.2f}x" if reference and name != "picows" else "" for name in names]
    words = [f"{value:.3g}{ratio}" for value, ratio in zip(values, ratios, strict=True)]
    for each in axes.bar_label(bars, words, padding=7, fontsize=9):
        each.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.5})
    if reference:
        axes.axvline(limit * reference, **_LIMIT)
        across = axes.get_xaxis_transform()
        axes.text(limit * reference, 1.0, f" target: {limit:g}x picows", **_LIMIT_WORDS, transform=across)
    axes.set_xlim(0, max(values) * 1.3)
    axes.set_xlabel(label, **_SOFT)
    axes.grid(axis="x")


def _draw_sizes(results: Results) -> Figure | None:
    fanout, lines = results.find("fanout") or {}, dict[str, Lines]()
    for load, _, _ in _LOADS:
        rooms = {name: (point.get(load) or {}).get("rooms") or {} for name, point in fanout.items()}
        lines[load] = {
            name: sorted((float(size), float(each["us_per_delivery"])) for size, each in found.items())
            for name, found in rooms.items()
        }
    if not all(any(len(line) > 1 for line in each.values()) for each in lines.values()):
        return None
    picture = Figure(figsize=(11.6, 4.8), layout=layout())
    for axes, load in zip(picture.subplots(1, 2, sharey=True), lines, strict=True):
        axes.set_title("Light load" if load == "light" else "Saturated")
        axes.set(xscale="log", yscale="log")
        _lines(axes, lines[load])
        axes.set_xticks([2, 10, 100, 1_000], ["2", "10", "100", "1,000"])
        _plain_log(axes)
        axes.set_xlabel("members of the room", **_SOFT)
    _names(picture.axes[1], lines["saturated"])
    picture.axes[0].set_ylabel("µs of server CPU for each delivery", **_SOFT)
    return picture


def _draw_memory(results: Results) -> Figure | None:
    lines = {
        name: [(float(each["connections"]), float(each["rss_kib_per_connection"])) for each in point["growth"]]
        for name, point in (results.find("idle") or {}).items()
    }
    if not any(len(line) > 1 for line in lines.values()):
        return None
    picture, axes = _chart("Memory of an idle connection, as they grow in number", lines)
    axes.set_ylim(0, 1.12 * max(value for line in lines.values() for _, value in line))
    axes.axhline(MEMORY, **_LIMIT)
    axes.text(0.01, MEMORY, f"target: {MEMORY} KiB", **_LIMIT_WORDS, transform=axes.get_yaxis_transform())
    counts = sorted({count for line in lines.values() for count, _ in line})
    axes.set_xticks(counts, [f"{count:,.0f}" for count in counts])
    axes.set_xlabel("connections", **_SOFT)
    axes.set_ylabel("KiB of RSS for each", **_SOFT)
    _names(axes, lines)
    return picture


def _draw_latency(results: Results) -> Figure | None:
    lines = {}
    for name, found in (results.find("durable") or {}).items():
        curve = ((found.get("at") or {}).get("1000") or {}).get("curve") or []
        lines[name] = [(1 / (1 - float(place) / 100), float(ms)) for place, ms in curve if float(place) < 100]  # noqa: PLR2004 - the end of the axis
    if not any(lines.values()):
        return None
    picture, axes = _chart("Durable, 1,000 messages/s: from send to receive", lines)
    axes.set(xscale="log", yscale="log")
    places = {"50 %": 2, "90 %": 10, "99 %": 100, "99.9 %": 1_000, "99.99 %": 10_000}
    axes.set_xticks(list(places.values()), list(places))
    _plain_log(axes)
    axes.set_xlabel("of all messages were received within", **_SOFT)
    axes.set_ylabel("milliseconds", **_SOFT)
    _names(axes, lines)
    return picture


def _chart(title: str, lines: Lines) -> tuple[Figure, Axes]:
    picture = Figure(figsize=(8.2, 4.8), layout=layout())
    axes = picture.subplots()
    axes.set_title(title)
    _lines(axes, lines)
    return picture, axes


def _lines(axes: Axes, lines: Lines) -> None:
    """Draw one line for each server."""
    for name, line in lines.items():
        if line:
            style: dict[str, Any] = (
                {"linewidth": 2.4, "markersize": 5, "zorder": 3}
                if name == VARDE
                else {"linewidth": 1.5, "markersize": 3.5}
            )
            axes.plot(*zip(*line, strict=True), color=COLOURS.get(name, LIGHT["soft"]), marker="o", **style)
    axes.grid(axis="y")


def _plain_log(axes: Axes) -> None:
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _names(axes: Axes, lines: Lines) -> None:
    """Write the names beside the ends of the lines, far enough from each other to be read. The limits stay as now."""
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = {name: float(to_axes.transform(line[-1])[1]) for name, line in lines.items() if line}
    below = -1.0
    for name in sorted(heights, key=heights.__getitem__):
        below = max(heights[name], below + APART)
        words = axes.text(1.02, below, title_of(name), transform=axes.transAxes, va="center", fontsize=8.5)
        words.set(color=COLOURS.get(name, LIGHT["soft"]), weight="bold" if name == VARDE else "normal")


CHARTS: Final[dict[str, Callable[[Results], Figure | None]]] = {
    "fan-out": _draw_fan_out,
    "room-sizes": _draw_sizes,
    "direct": _draw_direct,
    "memory": _draw_memory,
    "latency": _draw_latency,
}
