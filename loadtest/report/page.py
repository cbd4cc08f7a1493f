"""The report as one file of HTML, from `templates/`. Nothing is fetched, and only our own script may run."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from websockets import frames

from loadtest.report.charts import Timeline, latency_over_time, load_of, main_kind, percentiles_of, server_of
from loadtest.report.formatting import (
    KINDS,
    NOTHING,
    PERCENTILES,
    clock,
    duration,
    figure,
    flat,
    measured,
    milliseconds,
    title_of,
    unit_in,
)
from loadtest.report.plots import DARK, LIGHT, Chart, svg_of
from loadtest.report.result import Latency, Objective, Result, Sample, Verdict
from varde_contract.close_codes import MEANINGS, CloseCode

CPU_BUDGET: Final = 90.0  # Percent of a core: above it a worker may have been late by itself, and the run is invalid
_STANDS_OUT: Final = 1.5
_SLOWEST: Final = 5
_CLOSES: Final = {
    **{str(int(code)): (code.name.lower().replace("_", "-"), "") for code in frames.CloseCode},
    **{str(int(code)): (code.label, MEANINGS[code].when) for code in CloseCode},
    "reset": ("", "the peer's kernel reset the connection: its process was gone"),
    "refused": ("", "nobody listened"),
    "timeout": ("", "no answer in time"),
    "left": ("", "the user went, as it was told to"),
    "eof": ("", "the server hung up without a close frame"),
    "silence": ("", "nothing was heard for longer than the heartbeat allows"),
    "fault": ("", "the server broke a protocol"),
    "join-refused": ("", "a join was refused, so that the user gave up"),
    "generator-fault": ("", "a fault of the generator's own"),
}
_ORDERLY: Final = {"1000", "1001", "left", str(int(CloseCode.DRAINING))}


def _printable(value: object) -> str:
    """XML 1.0 has no control characters."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in str(value))


_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("loadtest.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.filters |= {"ms": milliseconds, "figure": figure, "clock": clock, "duration": duration, "title": title_of}
_ENVIRONMENT.filters["printable"] = _printable
_ENVIRONMENT.globals |= {"light": LIGHT, "dark": DARK, "percentiles": list(PERCENTILES), "nothing": NOTHING}


def render(template: str, **context: Any) -> str:
    """Fill a template; what is no markup is escaped."""
    return _ENVIRONMENT.get_template(template).render(context)


def page_of(result: Result) -> str:
    """Return the page of a run."""
    timeline, kind = Timeline(result), main_kind(result)
    measured_kinds = [each for each in KINDS if getattr(result.latency_ms, each).count]
    curves = [percentiles_of(result, each) for each in measured_kinds]
    over_time = latency_over_time(result, timeline)
    charts = [*curves[:1], *([over_time] if over_time else []), *curves[1:]]
    whole = timeline.chart("", "", [])
    script = (_ENVIRONMENT.loader or PackageLoader("loadtest.report")).get_source(_ENVIRONMENT, "cursor.js")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    latency: Latency = getattr(result.latency_ms, kind)
    return render(
        "run.html",
        result=result,
        script=Markup(script),  # noqa: S704 - our own file
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        readings=json.dumps(timeline.readings),
        places=json.dumps([whole.across(part[0].at_s) for part in timeline.bins]),
        kind=kind,
        kind_title=KINDS[kind].split(":")[0].lower(),
        latency=latency,
        raw=getattr(result.latency_ms, f"raw_{kind}", Latency()),
        stands_out=_STANDS_OUT,
        kinds=list(_kinds(result)),
        standing=standing_of,
        objectives=[_row(result, each) for each in sorted(result.objectives, key=lambda each: each.met)],
        latency_charts=[_drawn(chart) for chart in charts],
        load_charts=[_drawn(chart) for chart in load_of(result, timeline)],
        server_charts=[_drawn(chart) for chart in server_of(timeline)],
        slowest=list(_slowest(result.series)),
        closes=_bars(result.close_codes),
        refusals=_bars(result.refusals),
        cpu_budget=CPU_BUDGET,
        environment=list(flat(result.environment)),
        plan=msgspec.json.format(msgspec.json.encode(result.plan), indent=2).decode() if result.plan else "",
    )


def junit_of(result: Result) -> str:
    """Return the objectives as tests: a failure for what was missed, an error for a run that is invalid or failed."""
    return render("junit.xml", result=result, learned=result.verdict in {Verdict.MET, Verdict.MISSED})


def _drawn(chart: Chart) -> dict[str, Any]:
    """What the template needs of a chart, with readings at the pointer; those of charts over time are the page's."""
    lines = [(line, json.dumps([value and float(f"{value:.4g}") for _, value in line.points])) for line in chart.lines]
    drawn = {"chart": chart, "svg": Markup(svg_of(chart)), "lines": lines}  # noqa: S704 - matplotlib escapes
    if not chart.until and len({len(line.points) for line in chart.lines}) == 1:
        xs = [x for x, _ in chart.lines[0].points]
        drawn |= {
            "places": json.dumps([chart.across(x) for x in xs]),
            "readings": json.dumps([f"{x:.6g} %" for x in xs]),
        }
    return drawn


def _kinds(result: Result) -> Iterator[tuple[str, Latency]]:
    for kind, title in KINDS.items():
        for name, words in ((kind, title), (f"raw_{kind}", "raw")):
            latency: Latency = getattr(result.latency_ms, name, Latency())
            if latency.count:
                yield words, latency


def standing_of(objective: Objective) -> tuple[str, str]:
    """Return how good it is (`good`, `warn` or `bad`), and that in words: a missed goal may still hold its floor."""
    if objective.met:
        return "good", "met"
    if objective.measured is None:
        return "bad", "nothing"
    if objective.floor is None or objective.floor == objective.limit:
        return "bad", "missed"
    below = objective.measured < objective.floor if objective.at_least else objective.measured > objective.floor
    return ("bad", "under floor") if below else ("warn", "goal missed")


def _row(result: Result, objective: Objective) -> dict[str, Any]:
    unit, sign = unit_in(result, objective.key), "≥" if objective.at_least else "≤"
    value, limit = objective.measured, objective.limit
    return {
        "objective": objective,
        "standing": standing_of(objective),
        "measured": measured(value, unit),
        "goal": f"{sign} {measured(limit, unit)}",
        "floor": NOTHING if objective.floor is None else f"{sign} {measured(objective.floor, unit)}",
        "used": None if value is None or limit <= 0 or objective.at_least else 100 * value / limit,
    }


def _slowest(series: Sequence[Sample]) -> Iterator[dict[str, Any]]:
    slow = [sample for sample in series if sample.p99_ms is not None]
    for sample in sorted(slow, key=lambda sample: -(sample.p99_ms or 0.0))[:_SLOWEST]:
        late = [value for key, value in sample.server.items() if key.endswith("lateness_ms")]
        busy = [(value, key.partition(".")[0]) for key, value in sample.server.items() if key.endswith(".cpu_percent")]
        yield {"sample": sample, "late": max(late, default=None), "busiest": max(busy, default=None)}


def _bars(counts: Mapping[str, int]) -> list[tuple[str, str, str, int, float, bool]]:
    """Code, label, when, count, share of the most frequent, whether that is in order: the most frequent first."""
    most = max(counts.values(), default=1) or 1
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [(c, *_CLOSES.get(c, ("", "")), n, max(1.0, 100 * n / most), c in _ORDERLY) for c, n in ordered]
