"""Runs put into the documentation: their reports beside each other, and one table of all that are there."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from loadtest.report.reading import FILE, read_result
from loadtest.report.result import Latency, Result, Verdict

PAGE: Final = Path(__file__).parents[2] / "docs/load-results.md"
REPORTS: Final = Path("benchmarks/load")
BEGIN: Final = "<!-- written by `python -m loadtest publish`: begin -->"
END: Final = "<!-- written by `python -m loadtest publish`: end -->"
_COPIED: Final = {FILE: ".json", "report.html": ".html", "report.png": ".png"}
_LEARNED: Final = frozenset({Verdict.MET, Verdict.MISSED})
_HEAD: Final = (
    "| scenario | verdict | users | done per second | what was timed | p50, ms | p99, ms | p99.9, ms | most, ms "
    "| sent | lost, twice, out of order | relay, cores | database, cores | generator, most of one core | report |\n"
    "|---|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n"
)


class PublishError(Exception):
    """A run cannot be published; the text says why."""


def publish(runs: Sequence[Path], page: Path = PAGE, order: Iterable[str] = ()) -> None:
    """Copy the reports of some runs, each in place of an older one of its scenario, and write the table anew.

    `order` is that of the scenarios in it. Raises PublishError, and ReadError for what is no run.
    """
    results = [read_result(run) for run in runs]
    for run, result in zip(runs, results, strict=True):
        if result.verdict not in _LEARNED or result.interrupted:
            raise PublishError(f"the run in {run.name} is {result.verdict.value}: nothing was learned from it")
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise PublishError(f"{page.name} has no place for the results: it lost one of its marks")
    folder = page.parent / REPORTS
    folder.mkdir(parents=True, exist_ok=True)
    for run, result in zip(runs, results, strict=True):
        for name, ending in _COPIED.items():
            shutil.copyfile(run / name, folder / f"{result.scenario}{ending}")
    published = [read_result(file) for file in sorted(folder.glob("*.json"))]
    page.write_text(f"{before}{begin}\n\n{table_of(published, list(order))}\n{end}{after}", encoding="utf-8")


def table_of(results: Sequence[Result], order: Sequence[str] = ()) -> str:
    """Return a table in Markdown with the machines it was made on, a row for each result."""
    place = {name: number for number, name in enumerate(order)}
    rows = sorted(results, key=lambda result: (place.get(result.scenario, len(place)), result.scenario))
    return _HEAD + "".join(map(_row, rows)) + "\n" + _machines(rows)


def _row(result: Result) -> str:
    timed, latency = _timed(result)
    messages, at = result.messages, f"{REPORTS}/{result.scenario}"
    cells = (
        f"**{result.title or result.scenario}**",
        result.verdict.value,
        f"{result.users.connected:,}",
        f"{result.rate.achieved_per_second:,.0f}" if result.rate.target_per_second else "-",
        timed,
        *(_ms(value) for value in (latency.p50, latency.p99, latency.p999, latency.max)),
        f"{messages.sent:,}" if messages.sent else "-",
        f"{messages.lost}, {messages.duplicated}, {messages.disordered}" if messages.sent else "-",
        _cores(result, "relay"),
        _cores(result, "postgres"),
        f"{result.generator.cpu_max_percent:.0f} %",
        f"[page]({at}.html), [picture]({at}.png)",
    )
    return f"| {' | '.join(cells)} |\n"


def _timed(result: Result) -> tuple[str, Latency]:
    """What a scenario is about, of what it measured while it was judged, or at all."""
    ways = (("send to receive", "send_to_receive"), ("request", "request"), ("SYN to Welcome", "connect"))
    for figures in (result.latency_ms, *(stage.latency_ms for stage in result.stages)):
        for words, name in ways:
            latency: Latency = getattr(figures, name)
            if latency.count:
                return words, latency
    return "-", Latency()


def _cores(result: Result, process: str) -> str:
    judged = {stage.name for stage in result.stages if stage.judged}
    spent = [
        sum(value for key, value in row.server.items() if key.startswith(process) and key.endswith(".cpu_percent"))
        for row in result.series
        if row.stage in judged and row.server
    ]
    return f"{sum(spent) / len(spent) / 100:.2f}" if spent else "-"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}" if value < 1_000 else f"{value:,.0f}"  # noqa: PLR2004 - three digits


def _machines(results: Sequence[Result]) -> str:
    said = dict.fromkeys(
        f"{seen.get('cpu')}, {seen.get('cores')} cores, {seen.get('memory_gib')} GiB, {seen.get('kernel')}, "
        f"{seen.get('python')}"
        for seen in (result.environment for result in results)
        if seen
    )
    return "".join(f"Machine: {each}.\n" for each in said)
