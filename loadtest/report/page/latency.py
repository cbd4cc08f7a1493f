"""Latency in the page: the curve of percentiles against the SLO, what it was each second, and the slowest seconds."""

from collections.abc import Iterator
from typing import Final

from loadtest.report.distribution import curve_of
from loadtest.report.page.axis import latency_axis, percentile_axis
from loadtest.report.page.figures import clock, figure, milliseconds, percentile
from loadtest.report.page.keys import KINDS, PLACES
from loadtest.report.page.markup import Content, Markup, join, note, section, table, tag
from loadtest.report.page.plot import Chart, Level, Line, draw
from loadtest.report.page.seconds import Seconds, values_of
from loadtest.report.result import Latency, Objective, Result, Sample

CORRECTED: Final = 1
RAW: Final = 6
MIDDLE: Final = 2
SLOWEST: Final = 5
_FAR: Final = 4.0
"""A floor this many times higher than anything measured is told in words, and not drawn."""
_STANDS_OUT: Final = 1.5


def latency_of(result: Result) -> Markup | None:
    """Return the whole part, or None when no latency was measured."""
    found = [(key, title) for key, title in KINDS if getattr(result.latency_ms, key).count]
    if not found:
        return None
    first, *others = (draw(_curve(result, key, title)) for key, title in found)
    beside = tag("div", *others, class_="charts") if others else None
    return section("latency", "Latency", _figures(result), first, _honesty(result, found[0][0]), beside)


def latency_by_second(result: Result, seconds: Seconds) -> Markup | None:
    """Return what each second was like and which were the slowest; None when no second had a latency."""
    p99 = seconds.line("p99 of each second", CORRECTED, lambda sample: sample.p99_ms, "ms", joined=max)
    p50 = seconds.line("p50", MIDDLE, lambda sample: sample.p50_ms, "ms", joined=max)
    if not values_of([p99]):
        return None
    levels = _levels_of_time(result, max(values_of([p99])), seconds)
    highs = [value for level in levels for _, value in level.steps]
    chart = Chart(
        title=f"{_main_title(result)}, by second",
        x=seconds.axis,
        y=latency_axis([*values_of([p99, p50]), *highs]),
        lines=[p99, p50],
        bands=seconds.bands,
        levels=levels,
        events=seconds.events,
        readings=seconds.readings,
        tall=True,
        note="Corrected. Shaded: the stages that are judged.",
    )
    return section("seconds", "Latency over time", draw(chart), _slowest(result))


def main_kind(result: Result) -> str:
    """Return the latency that a scenario is about: the first that it measured."""
    return next((key for key, _ in KINDS if getattr(result.latency_ms, key).count), KINDS[0][0])


def _main_title(result: Result) -> str:
    return dict(KINDS)[main_kind(result)]


def objectives_of(result: Result, kind: str, prefix: str = "") -> Iterator[tuple[float, Objective]]:
    """Return the lines of the SLO about one kind of latency, with their percentiles, rising.

    With a prefix, those about what stands there, such as a stage.
    """
    found = {f"{prefix}latency_ms.{kind}.{name}": place for name, place in PLACES.items()}
    yield from sorted(
        ((found[each.key], each) for each in result.objectives if each.key in found), key=lambda pair: pair[0]
    )


def _curve(result: Result, kind: str, title: str) -> Chart:
    corrected: Latency = getattr(result.latency_ms, kind)
    raw: Latency = getattr(result.latency_ms, f"raw_{kind}", Latency())
    lines = [Line("corrected" if raw.count else "measured", CORRECTED, curve_of(corrected), "ms")]
    if raw.count:
        lines.append(Line("raw", RAW, curve_of(raw), "ms", dashed=True))
    most = max(place for place, _ in lines[0].points if place < 100)  # noqa: PLR2004 - the end of the axis has no place
    levels = list(_levels(result, kind, max(values_of(lines))))
    same = all([at for at, _ in line.points] == [at for at, _ in lines[0].points] for line in lines)
    return Chart(
        title=title,
        x=percentile_axis(most),
        y=latency_axis([*values_of(lines), *(value for level in levels for _, value in level.steps)]),
        lines=lines,
        levels=levels,
        readings=[percentile(at) for at, _ in lines[0].points] if same else (),
        timed=False,
        tall=True,
        note=f"{corrected.count:,} measured. Each step to the right is a tenth of those who still waited.",
    )


def _levels(result: Result, kind: str, most: float) -> Iterator[Level]:
    """The SLO as stairs, each step as far as its percentile reaches, and the hard floor of the highest above them."""
    steps: list[tuple[float, float]] = []
    names: list[tuple[float, float, str]] = []
    floor: tuple[float, Objective] | None = None
    for place, objective in objectives_of(result, kind):
        began = steps[-1][0] if steps else 0.0
        steps += [(began, objective.limit), (place, objective.limit)]
        names.append((began, objective.limit, _limit("SLO", place, objective.limit)))
        floor = (place, objective) if objective.floor is not None else floor
    if steps:
        yield Level(steps, names)
    if floor is not None:
        yield from _floor(*floor, 0.0, floor[0], most)


def _floor(place: float, objective: Objective, began: float, until: float, most: float) -> Iterator[Level]:
    height = objective.floor
    if height is not None and objective.limit < height <= _FAR * max(most, objective.limit):
        name = (began, height, _limit("floor", place, height))
        yield Level([(began, height), (until, height)], [name], floor=True)


def _limit(word: str, place: float, limit: float) -> str:
    return f"{word}: {'max' if place == PLACES['max'] else f'p{place:g}'} ≤ {milliseconds(limit)}"


def _levels_of_time(result: Result, most: float, seconds: Seconds) -> list[Level]:
    """The SLO of p99 over the whole run, and that of a single stage over that stage."""
    until = max([result.seconds, *(band.until for band in seconds.bands)])
    found: list[Level] = []
    for began, ended, prefix in ((0.0, until, ""), *((b.began, b.until, f"stages.{b.name}.") for b in seconds.bands)):
        for place, objective in objectives_of(result, main_kind(result), prefix):
            if place == PLACES["p99"]:
                name = (began, objective.limit, _limit("SLO", place, objective.limit))
                found.append(Level([(began, objective.limit), (ended, objective.limit)], [name]))
                found += _floor(place, objective, began, ended, most)
    return found


def _figures(result: Result) -> Markup:
    rows: list[tuple[Content, ...]] = []
    for key, title in KINDS:
        for field, words in ((key, title), (f"raw_{key}", "raw")):
            latency: Latency = getattr(result.latency_ms, field, Latency())
            if latency.count:
                name = tag("span", words, class_="raw") if words == "raw" else tag("b", words)
                rows.append((name, f"{latency.count:,}", *(milliseconds(getattr(latency, each)) for each in PLACES)))
    return table(("", "measured", "p50", "p95", "p99", "p99.9", "max"), rows)


def _honesty(result: Result, kind: str) -> Markup | None:
    """Say what corrected and raw mean, and what lies between them in this run."""
    corrected: Latency = getattr(result.latency_ms, kind)
    raw: Latency = getattr(result.latency_ms, f"raw_{kind}", Latency())
    if not raw.p999 or not corrected.p999:
        return None
    said = (
        "Corrected latency counts from when a message was due, raw from when it was sent: "
        "what lies between is how long messages waited to be sent, for the system or for a late generator. "
    )
    ratio = corrected.p999 / raw.p999
    if ratio < _STANDS_OUT:
        return note(said, "Here they agree.")
    told = f"At p99.9 that is {milliseconds(corrected.p999)} instead of {milliseconds(raw.p999)}."
    return note(said, tag("b", told))


def _slowest(result: Result) -> Markup:
    slow = [sample for sample in result.series if sample.p99_ms is not None]
    slow = sorted(slow, key=lambda sample: -(sample.p99_ms or 0.0))[:SLOWEST]
    headings = ("at", "stage", "p99", "p50", "connected", "sent", "received", "late", "busiest process", "generator")
    return join(
        tag("h3", "The slowest seconds, and what else they saw"),
        table(headings, [_row_of_second(sample) for sample in slow], words=2),
    )


def _row_of_second(sample: Sample) -> tuple[Content, ...]:
    late = [value for key, value in sample.server.items() if key.endswith("lateness_ms")]
    busy = [(value, key.partition(".")[0]) for key, value in sample.server.items() if key.endswith(".cpu_percent")]
    busiest = max(busy, default=None)
    return (
        clock(sample.at_s),
        sample.stage,
        milliseconds(sample.p99_ms),
        milliseconds(sample.p50_ms),
        f"{sample.connected:,}",
        figure(sample.sent_per_second, "/s"),
        figure(sample.received_per_second, "/s"),
        milliseconds(max(late, default=None)),
        f"{busiest[1]} {busiest[0]:.0f}%" if busiest else figure(None),
        f"{sample.generator_cpu_percent:.0f}%",
    )
