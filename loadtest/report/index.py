"""The index of all runs in a folder: verdicts, the figures everybody asks for, and a trend for each scenario."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup
from msgspec import Struct

from loadtest.report.charts import main_kind
from loadtest.report.formatting import KINDS
from loadtest.report.page import render
from loadtest.report.plots import sparkline_of
from loadtest.report.result import FILE, Latency, ReadError, Result, Verdict, read_result, write_whole

RUNS: Final = Path("build") / "load"
_MACHINE: Final = ("cpu", "cores", "memory_gib", "kernel")  # what of a fingerprint tells one machine from another


class Run(Struct, frozen=True):
    """A row of the index. `folder` is where its pages are, seen from the index."""

    folder: str
    result: Result
    latency: Latency
    timed: str

    @property
    def alike(self) -> tuple[Any, ...]:
        """What runs must share to be points of one trend: the machine, the load, the length."""
        rate, seconds = self.result.rate.target_per_second, round(self.result.seconds, -1)
        return *(self.result.environment.get(key) for key in _MACHINE), self.result.users.asked, round(rate), seconds


def write_index(folder: Path = RUNS) -> Path:
    """Write `index.html` beside the folders of runs, and return it. What is no run is passed over."""
    runs = []
    for file in folder.glob(f"*/{FILE}"):
        with suppress(ReadError):
            result = read_result(file)
            kind = main_kind(result)
            timed = KINDS[kind].split(":")[0].lower()
            runs.append(Run(file.parent.name, result, getattr(result.latency_ms, kind), timed))
    scenarios: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.result.started, reverse=True):  # the last run on top
        scenarios.setdefault(run.result.scenario, []).append(run)
    page = render("index.html", scenarios=[(name, found, list(_trends(found))) for name, found in scenarios.items()])
    return write_whole(folder / "index.html", page.encode())


def _trends(runs: Sequence[Run]) -> Iterator[tuple[str, Markup, float]]:
    """A line for p50 and p99 of the runs that are like the newest: name, picture, latest value."""
    told = [run for run in runs if run.result.verdict in {Verdict.MET, Verdict.MISSED}]
    alike = [run for run in reversed(told) if run.alike == told[0].alike]
    for name in ("p50", "p99"):
        values = [value for run in alike if (value := getattr(run.latency, name)) is not None]
        if len(values) > 1:
            yield name, Markup(sparkline_of(values)), values[-1]  # noqa: S704 - matplotlib's
