"""Where the figures come from: the generator and its health, the machine, the plan, the files beside the page."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from loadtest.report.page.figures import NOTHING, figure, milliseconds
from loadtest.report.page.markup import Content, Markup, join, note, section, table, tag
from loadtest.report.result import Generator, Result, WorkerFigures

CPU_BUDGET: Final = 90.0
"""Percent of a core: above it a worker may have been late by itself, and the run is invalid."""
LATE_BUDGET: Final = 1.0
"""Percent of the sends: beyond, a 99th percentile is the generator's own."""
_FULL: Final = 100.0


def generator_of(result: Result) -> Markup:
    """Return whether the figures may be believed."""
    generator = result.generator
    rows = [_row(worker) for worker in generator.workers]
    headings = ("worker", "CPU, at most", "", "CPU, mean", "memory", "latest send")
    return section(
        "generator",
        "Was it the generator?",
        _answer(generator),
        tag("div", *_cells(result), class_="cells"),
        tag("div", table(headings, rows), class_="bars") if rows else None,
        note(
            "Percent of one core, over windows of five seconds. Beyond 90 % a worker is late by itself; so it is, "
            "whatever it used, where more than 1 % of its sends were more than 100 ms late."
        ),
    )


def _answer(generator: Generator) -> Markup:
    if not generator.bottlenecks:
        if generator.missing_workers or not generator.workers or generator.cpu_max_percent > CPU_BUDGET:
            return note(tag("b", "Nobody can tell. ", class_="warn"), "It was not watched to the end.")
        return note(tag("b", "No. ", class_="good"), "It kept its schedule and had processor time to spare.")
    return join(
        note(tag("b", "Yes. ", class_="bad"), "What was measured is the generator:"),
        tag("ul", *(tag("li", words) for words in generator.bottlenecks)),
    )


def _cells(result: Result) -> Iterator[Markup]:
    generator, rate = result.generator, result.rate
    spent = generator.cpu_max_percent
    yield _cell(f"{spent:.0f}%", "CPU, at most", "of one core, in any worker", ok=spent <= CPU_BUDGET)
    here = generator.expected_workers - generator.missing_workers
    yield _cell(
        f"{here} of {generator.expected_workers}",
        "workers",
        "that were there all along",
        ok=not generator.missing_workers,
    )
    late = max((worker.late_max_ms for worker in generator.workers), default=None)
    yield _cell(milliseconds(late), "latest send", "behind the schedule; counted into the latency", ok=None)
    share = generator.late_percent
    yield _cell(f"{share:.2g}%", "late sends", "more than 100 ms behind the schedule", ok=share <= LATE_BUDGET)
    yield _cell(milliseconds(generator.clock_uncertainty_ms), "clock", "uncertainty between machines", ok=None)
    if rate.target_per_second:
        share = 100 * rate.achieved_per_second / rate.target_per_second
        yield _cell(f"{share:.1f}%", "of the rate", "that was asked for was done", ok=None)


def _cell(value: str, name: str, words: str, *, ok: bool | None) -> Markup:
    kind = "" if ok is None else "good" if ok else "bad"
    return tag("div", tag("b", value), tag("span", name), tag("small", words), class_=f"cell {kind}")


def _row(worker: WorkerFigures) -> tuple[Content, ...]:
    over = worker.cpu_max_percent > CPU_BUDGET
    share = min(_FULL, worker.cpu_max_percent)
    bar = tag("span", tag("i", class_="bar odd" if over else "bar", style=f"width:{share:.1f}%"), class_="track")
    spent = (f"{worker.cpu_max_percent:.0f}%", bar, f"{worker.cpu_mean_percent:.0f}%")
    return (tag("b", worker.name), *spent, figure(worker.rss_mib, "MiB"), milliseconds(worker.late_max_ms))


def environment_of(result: Result) -> Markup:
    """Return the fingerprint of the machine, and the plan as it was followed."""
    plan = tag("details", tag("summary", "The plan, as it was followed"), tag("pre", _json(result.plan)))
    if not result.environment:
        return section("environment", "Environment", note("It was not looked at."), plan if result.plan else None)
    pairs = [
        tag("div", tag("dt", name.replace("_", " ")), tag("dd", value)) for name, value in _flat(result.environment)
    ]
    return section("environment", "Environment", tag("dl", *pairs), plan if result.plan else None)


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        path = f"{before}{name}"
        if isinstance(value, dict):
            yield from _flat(value, f"{path} · ")
        elif isinstance(value, list | tuple):
            yield path, ", ".join(map(str, value))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield path, f"{value:,.12g}"
        else:
            yield path, NOTHING if value is None else str(value)


def _json(values: Mapping[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(values), indent=2).decode()
