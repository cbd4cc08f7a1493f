"""The charts of a run: which there are, and what of a result each one shows."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import fmean
from typing import Any, Final

from loadtest.exits import Verdict
from loadtest.report.formatting import KINDS, PERCENTILES, WORDS, milliseconds, unit_of
from loadtest.report.plots import Band, Chart, Level, Line, png_of, sheet_of
from loadtest.report.result import Latency, Objective, Result, Sample

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
