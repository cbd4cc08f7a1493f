"""Runs put into the documentation: a picture and a row of each, kept until a newer run of its scenario comes."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from loadtest.exits import CouldNotRun
from loadtest.report.charts import picture_of
from loadtest.report.page import TEMPLATES
from loadtest.report.result import Latency, Result, read_result, split_page

PAGE: Final = Path(__file__).parents[2] / "docs/load-results.md"
PICTURES: Final = Path("benchmarks/load")
HEAD: Final = (
    "| scenario | verdict | users | done per second | what was timed | p50, ms | p99, ms | p99.9, ms | most, ms "
    "| sent | lost, twice, out of order | relay, cores | database, cores | generator, of one core | day, commit |\n"
    "|---|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n"
)
_TIMED: Final = {"send_to_receive": "send to receive", "request": "request", "connect": "SYN to Welcome"}
_ROW: Final = re.compile(r"^\| \[.*\]\(benchmarks/load/([\w-]+)\.png\).*$", re.MULTILINE)
_MACHINE: Final = re.compile(r"^Machine: .*$", re.MULTILINE)


def publish_runs(runs: Sequence[Path], page: Path = PAGE, order: Iterable[str] = ()) -> None:
    """Write pictures and rows of runs in place of older ones, in the given order. Raises CouldNotRun."""
    results = [read_result(run) for run in runs]
    for run, result in zip(runs, results, strict=True):
        if not result.learned or result.interrupted:
            raise CouldNotRun(f"the run in {run.name} is {result.verdict.value}: nothing was learned from it")
    before, written, after = split_page(page, "python -m loadtest publish")
    (page.parent / PICTURES).mkdir(parents=True, exist_ok=True)
    rows = dict.fromkeys(order, "") | {found[1]: found[0] for found in _ROW.finditer(written)}
    for result in results:
        picture = page.parent / PICTURES / f"{result.scenario}.png"
        picture.write_bytes(picture_of(result, most=4, dpi=90, colours=96))
        rows[result.scenario] = _row(result)
    machines = dict.fromkeys([*_MACHINE.findall(written), *map(_machine, results)])
    table = HEAD + "\n".join(filter(None, rows.values())) + "\n\n" + "\n".join(machines)
    page.write_text(f"{before}\n\n{table}\n\n{after}", encoding="utf-8")


def _row(result: Result) -> str:
    figures = (result.latency_ms, *(stage.latency_ms for stage in result.stages))  # of what was judged, or at all
    found = ((words, getattr(each, kind)) for each in figures for kind, words in _TIMED.items())
    kind, latency = next(((words, latency) for words, latency in found if latency.count), ("-", Latency()))
    servers, cores = [row.server for row in result.judged_series if row.server], list[float | None]()
    for process in ("relay", "postgres"):
        used = [value for row in servers for key, value in row.items() if re.match(rf"{process}.*\.cpu_percent$", key)]
        cores.append(sum(used) / len(servers) / 100 if servers else None)
    given = {"kind": kind, "latency": latency, "cores": cores, "picture": f"{PICTURES}/{result.scenario}.png"}
    return TEMPLATES.get_template("published.md").render(result=result, **given).strip()


def _machine(result: Result) -> str:
    seen = {"cpu": "?", "cores": "?", "memory_gib": "?", "kernel": "?", "python": "?"} | result.environment
    return "Machine: {cpu}, {cores} cores, {memory_gib} GiB, {kernel}, {python}.".format_map(seen)
