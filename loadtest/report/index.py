"""The index of all runs in a folder: verdicts, the figures everybody asks for, and a trend for each scenario."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup
from msgspec import Struct

from loadtest.report.charts import main_kind
from loadtest.report.formatting import KINDS
from loadtest.report.outputs import FILE, ReadError, read_result, write_whole
from loadtest.report.page import render
from loadtest.report.plots import sparkline_of
from loadtest.report.result import Latency, Result, Verdict

RUNS: Final = Path("build") / "load"
NAME: Final = "index.html"
_MACHINE: Final = ("cpu", "cores", "memory_gib", "kernel")  # what of a fingerprint tells one machine from another
_LEARNED: Final = {Verdict.MET, Verdict.MISSED}


class Run(Struct, frozen=True):
    """A row of the index. `folder` is where its pages are, seen from the index."""

    folder: str
    result: Result
    latency: Latency
    timed: str

    @property
    def commit(self) -> str:
        """The revision it was made with."""
        return str(self.result.environment.get("commit") or "")

    @property
    def alike(self) -> tuple[Any, ...]:
        """What runs must share to be points of one trend: the machine, the load, the length."""
        rate, seconds = self.result.rate.target_per_second, round(self.result.seconds, -1)
        return *(self.result.environment.get(key) for key in _MACHINE), self.result.users.asked, round(rate), seconds


def write_index(folder: Path = RUNS) -> Path:
    """Write `index.html` beside the folders of runs, and return it. What is no run is passed over."""
    runs = []
    for file in folder.glob(f"*/{FILE}"):
        try:
            result = read_result(file)
        except ReadError:
            continue
        kind = main_kind(result)
        runs.append(Run(file.parent.name, result, getattr(result.latency_ms, kind), KINDS[kind].split(":")[0].lower()))
    runs.sort(key=lambda run: run.result.started, reverse=True)
    return write_whole(folder / NAME, index_of(runs).encode())


def index_of(runs: Sequence[Run]) -> str:
    """Return the page: the newest first, and the scenario that was run last on top."""
    scenarios: dict[str, list[Run]] = {}
    for run in runs:
        scenarios.setdefault(run.result.scenario, []).append(run)
    return render("index.html", scenarios=[(name, found, _trends(found)) for name, found in scenarios.items()])


def _trends(runs: Sequence[Run]) -> list[tuple[str, Markup, float]]:
    """A line for p50 and p99 of the runs that are like the newest: name, picture, latest value."""
    told = [run for run in runs if run.result.verdict in _LEARNED]
    alike = [run for run in reversed(told) if run.alike == told[0].alike]
    trends = []
    for name in ("p50", "p99"):
        values = [value for run in alike if (value := getattr(run.latency, name)) is not None]
        if len(values) > 1:
            trends.append((name, Markup(sparkline_of(values)), values[-1]))  # noqa: S704 - matplotlib's
    return trends
