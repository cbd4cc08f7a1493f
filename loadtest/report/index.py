"""The index of all runs in a folder: verdicts, the figures everybody asks for, and a trend for each scenario."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from markupsafe import Markup

from loadtest.report.charts import main_latency
from loadtest.report.page import render
from loadtest.report.plots import sparkline_of
from loadtest.report.result import FILE, ReadError, Result, read_result, write_whole

RUNS: Final = Path("build") / "load"
_MACHINE: Final = ("cpu", "cores", "memory_gib", "kernel")  # what of a fingerprint tells one machine from another


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
    return write_whole(folder / "index.html", render("index.html", scenarios=scenarios, trends=trends).encode())


def _trends(results: Sequence[Result]) -> Iterator[tuple[str, Markup, float]]:
    """A line for p50 and p99 of the runs that are like the newest: name, picture, latest value."""
    told = [result for result in reversed(results) if result.learned]
    alike = [main_latency(result)[1] for result in told if _load(result) == _load(told[-1])]
    for name in ("p50", "p99"):
        values = [value for latency in alike if (value := getattr(latency, name)) is not None]
        if len(values) > 1:
            yield name, Markup(sparkline_of(values)), values[-1]  # noqa: S704 - matplotlib's


def _load(result: Result) -> tuple[object, ...]:
    """What runs must share to be points of one trend: the machine, the load, the length."""
    machine = (result.environment.get(key) for key in _MACHINE)
    return *machine, result.users.asked, round(result.rate.target_per_second), round(result.seconds, -1)
