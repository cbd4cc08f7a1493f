"""The report of a run and the index of all runs as HTML. Nothing is fetched, and no script may run."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from jinja2 import Environment, PackageLoader, select_autoescape
from websockets import frames

from loadtest.report import formatting
from loadtest.report.charts import Timeline, latency_over_time, load_of, main_latency, percentiles_of, server_of
from loadtest.report.plots import DARK, LIGHT, sparkline_of, svg_of
from loadtest.report.result import CPU_LIMIT, FILE, RUNS, Latency, ReadError, Result, Sample, read_result, write_whole
from varde_contract.close_codes import MEANINGS, CloseCode

_MACHINE: Final = ("cpu", "cores", "memory_gib", "kernel")  # what of a fingerprint tells one machine from another
_CLOSES: Final = {
    **{str(int(code)): (code.name.lower().replace("_", "-"), "") for code in frames.CloseCode},
    **{str(int(code)): (code.label, MEANINGS[code].when) for code in CloseCode},
}


def page_of(result: Result) -> str:
    """Return the page of a run."""
    timeline, (kind, latency) = Timeline(result), main_latency(result)
    curves = [percentiles_of(result, each) for each in formatting.KINDS if getattr(result.latency_ms, each).count]
    over_time = latency_over_time(result, timeline)
    return TEMPLATES.get_template("run.html").render(
        result=result,
        kind=kind,
        latency=latency,
        raw=getattr(result.latency_ms, f"raw_{kind}", Latency()),
        latency_charts=[chart for chart in (*curves[:1], over_time, *curves[1:]) if chart],
        load_charts=load_of(result, timeline),
        server_charts=server_of(timeline),
        plan=msgspec.json.format(msgspec.json.encode(result.plan), indent=2).decode() if result.plan else "",
    )


def junit_of(result: Result) -> str:
    """Return the objectives as tests: a failure for what was missed, an error for a run that is invalid or failed."""
    return TEMPLATES.get_template("junit.xml").render(result=result)


def _busiest(sample: Sample) -> tuple[float | None, str]:
    """How late a server's loop was in a second, and which process took the most of a core."""
    late = [value for key, value in sample.server.items() if key.endswith("lateness_ms")]
    busy = [(value, key.partition(".")[0]) for key, value in sample.server.items() if key.endswith(".cpu_percent")]
    return max(late, default=None), "{1} {0:.0f}%".format(*max(busy)) if busy else formatting.NOTHING


def write_index(folder: Path = RUNS) -> Path:
    """Write `index.html` beside the folders of runs, and return it. What is no run is passed over."""
    runs = list[tuple[str, Result]]()
    for file in folder.glob(f"*/{FILE}"):
        with suppress(ReadError):
            runs.append((file.parent.name, read_result(file)))
    scenarios = defaultdict[str, list[tuple[str, Result]]](list)
    for name, result in sorted(runs, key=lambda run: run[1].started, reverse=True):  # the last run on top
        scenarios[result.scenario].append((name, result))
    trends = {scenario: list(_trends([result for _, result in found])) for scenario, found in scenarios.items()}
    page = TEMPLATES.get_template("index.html").render(scenarios=scenarios, trends=trends)
    return write_whole(folder / "index.html", page.encode())


def _trends(results: Sequence[Result]) -> Iterator[tuple[str, str, float]]:
    """A line for p50 and p99 of the runs that are like the newest: name, picture, latest value."""
    told = [result for result in reversed(results) if result.learned]
    alike = [main_latency(result)[1] for result in told if _load(result) == _load(told[-1])]
    for name in ("p50", "p99"):
        values = [value for latency in alike if (value := getattr(latency, name)) is not None]
        if len(values) > 1:
            yield name, sparkline_of(values), values[-1]


def _load(result: Result) -> tuple[object, ...]:
    """What runs must share to be points of one trend: the machine, the load, the length."""
    machine = (result.environment.get(key) for key in _MACHINE)
    return *machine, result.users.asked, round(result.rate.target_per_second), round(result.seconds, -1)


TEMPLATES: Final = Environment(
    loader=PackageLoader("loadtest.report"), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
)
TEMPLATES.filters |= {
    **{name: getattr(formatting, name) for name in ("clock", "duration", "figure", "flat")},
    "ms": formatting.milliseconds,
    "title": formatting.title_of,
    "unit": formatting.unit_in,
    "busiest": _busiest,
    "svg": svg_of,
    "main_latency": main_latency,
    # XML 1.0 has no control characters.
    "printable": lambda text: "".join(each if each.isprintable() or each == "\n" else " " for each in str(text)),
}
TEMPLATES.globals |= {
    "light": LIGHT,
    "dark": DARK,
    "kinds": formatting.KINDS,
    "percentiles": list(formatting.PERCENTILES),
    "nothing": formatting.NOTHING,
    "closes": _CLOSES,
    "orderly": {"1000", "1001", "left", str(int(CloseCode.DRAINING))},
    "cpu_budget": CPU_LIMIT,
}
