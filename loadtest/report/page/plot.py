"""A chart in the page: an SVG that stretches to any width, and words beside it that do not."""

import json
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from loadtest.report.page.axis import Axis
from loadtest.report.page.markup import Content, Markup, join, tag

Points = Sequence[tuple[float, float | None]]
_SIDE: Final = 1_000
"""Of the square that is stretched over the chart."""
_ROOM_FOR_WORDS: Final = 0.07
"""Of the width: a band narrower than this has no name written in it."""


class Line(Struct, frozen=True):
    """`colour` is one of the palette, 1 to 8. A gap is a point whose value is None."""

    name: str
    colour: int
    points: Points
    unit: str = ""
    dashed: bool = False
    filled: bool = False


class Band(Struct, frozen=True):
    """A stage, in seconds."""

    name: str
    began: float
    until: float
    judged: bool = False


class Level(Struct, frozen=True):
    """A limit: `steps` are the corners of a line, in values of both axes. `floor` marks the hard one.

    A name stands above the line, from its own point `(x, y)` on.
    """

    steps: Sequence[tuple[float, float]]
    names: Sequence[tuple[float, float, str]] = ()
    floor: bool = False


class Event(Struct, frozen=True):
    """Something that befell the system."""

    name: str
    at: float


class Chart(Struct, frozen=True, kw_only=True):
    """One picture. `readings` are the texts of the horizontal axis at the points of the first line, for the cursor."""

    title: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    bands: Sequence[Band] = ()
    levels: Sequence[Level] = ()
    events: Sequence[Event] = ()
    readings: Sequence[str] = ()
    timed: bool = True
    tall: bool = False
    note: Content = None


def draw(chart: Chart) -> Markup:
    """Return the figure: title, legend with a reading under the cursor, and the plot between its axes."""
    head = tag("figcaption", tag("h3", chart.title), _legend(chart))
    marks = [tag("span", text, class_="y", style=f"bottom:{_percent(at)}") for at, text in chart.y.marks]
    marks += [tag("span", text, class_=_side(at), style=f"left:{_percent(at)}") for at, text in chart.x.marks]
    plot = tag("div", _picture(chart), *_names(chart), *marks, tag("i", class_="cursor"), class_="plot")
    return tag(
        "figure",
        head,
        plot,
        tag("p", chart.note, class_="note") if chart.note else None,
        class_="chart tall" if chart.tall else "chart",
        data_timed=chart.timed,
        data_places=_numbers([chart.x.place(x) for x, _ in chart.lines[0].points]) if chart.readings else None,
        data_readings=json.dumps(list(chart.readings)) if chart.readings else None,
    )


def _side(at: float) -> str:
    return "x first" if at < 0.02 else "x last" if at > 0.97 else "x"  # noqa: PLR2004 - words shall not leave the page


def _legend(chart: Chart) -> Markup:
    entries = [
        tag(
            "li",
            tag("i", class_=f"key c{line.colour}{' dashed' if line.dashed else ''}"),
            tag("span", line.name),
            tag("output"),
            data_unit=line.unit,
            data_values=_numbers([value for _, value in line.points]) if chart.readings else None,
        )
        for line in chart.lines
    ]
    return tag("ul", *entries, tag("li", tag("output"), class_="when"), class_="legend")


def _picture(chart: Chart) -> Markup:
    parts = [
        *(_band(chart, band, even=bool(n % 2)) for n, band in enumerate(chart.bands)),
        *(_grid(0, at, _SIDE, at) for at in (_across(place) for place, _ in chart.y.marks)),
        *(_fill(chart, line) for line in chart.lines if line.filled),
        *(_level(chart, level) for level in chart.levels),
        *(_event(chart, event) for event in chart.events),
        *(_line(chart, line) for line in chart.lines),
    ]
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {_SIDE} {_SIDE}",
        preserveAspectRatio="none",
        role="img",
        aria_label=chart.title,
    )


def _grid(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="grid")


def _band(chart: Chart, band: Band, *, even: bool) -> Markup:
    left, right = (_along(chart.x.place(at)) for at in (band.began, band.until))
    kind = f"{'judged ' if band.judged else ''}{'even' if even else 'odd'}"
    return tag("rect", x=left, y=0, width=round(max(0.0, right - left), 1), height=_SIDE, class_=f"band {kind}")


def _event(chart: Chart, event: Event) -> Markup:
    at = _along(chart.x.place(event.at))
    return tag("line", x1=at, y1=0, x2=at, y2=_SIDE, class_="event")


def _level(chart: Chart, level: Level) -> Markup:
    path = _path(chart, level.steps)
    return tag("path", d=path, class_="level floor" if level.floor else "level")


def _line(chart: Chart, line: Line) -> Markup:
    return tag("path", d=_path(chart, line.points), class_=f"line c{line.colour}{' dashed' if line.dashed else ''}")


def _fill(chart: Chart, line: Line) -> Markup:
    known = [(x, value) for x, value in line.points if value is not None]
    if not known:
        return join()
    ends = f"L{_along(chart.x.place(known[-1][0]))} {_SIDE}L{_along(chart.x.place(known[0][0]))} {_SIDE}Z"
    return tag("path", d=_path(chart, known) + ends, class_=f"fill c{line.colour}")


def _path(chart: Chart, points: Points) -> str:
    """A point alone between gaps is a line of no length, which round ends make a dot."""
    written, drawing = [], False
    for x, value in points:
        if value is not None:
            place = f"{_along(chart.x.place(x))} {_across(chart.y.place(value))}"
            written.append(f"L{place}" if drawing else f"M{place}h0")
        drawing = value is not None
    return "".join(written)


def _names(chart: Chart) -> list[Markup]:
    return [
        *(_name_of_band(chart, band) for band in chart.bands),
        *(name for level in chart.levels for name in _names_of_level(chart, level)),
        *(_name_of_event(chart, event) for event in chart.events),
    ]


def _name_of_band(chart: Chart, band: Band) -> Markup:
    left, right = chart.x.place(band.began), chart.x.place(band.until)
    if right - left < _ROOM_FOR_WORDS:
        return join()
    style = f"left:{_percent(left)};width:{_percent(right - left)}"
    return tag("span", band.name, class_="stage judged" if band.judged else "stage", style=style, title=band.name)


def _names_of_level(chart: Chart, level: Level) -> Iterator[Markup]:
    for x, y, name in level.names:
        style = f"left:{_percent(chart.x.place(x))};bottom:{_percent(chart.y.place(y))}"
        yield tag("span", name, class_="limit floor" if level.floor else "limit", style=style)


def _name_of_event(chart: Chart, event: Event) -> Markup:
    place = chart.x.place(event.at)
    side = "event left" if place > 0.7 else "event"  # noqa: PLR2004 - words shall not leave the chart
    return tag("span", event.name, class_=side, style=f"left:{_percent(place)}")


def _along(place: float) -> float:
    return round(_SIDE * place, 1)


def _across(place: float) -> float:
    return round(_SIDE * (1 - min(1.02, max(-0.02, place))), 1)


def _percent(place: float) -> str:
    return f"{100 * place:.2f}%"


def _numbers(values: Sequence[float | None]) -> str:
    return json.dumps([None if value is None else float(f"{value:.4g}") for value in values], separators=(",", ":"))
