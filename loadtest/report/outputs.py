"""The outputs of a run, all into one folder: for programs, for tools, and the page; and the index of all runs.

Nothing that a page shows is fetched, and no script may run in it.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec
from jinja2 import Environment, PackageLoader, select_autoescape
from websockets import frames

from loadtest.exits import CouldNotRun
from loadtest.report import formatting
from loadtest.report.plots import (
    DARK,
    LIGHT,
    Timeline,
    latency_over_time,
    load_of,
    main_latency,
    percentiles_of,
    picture_of,
    server_of,
    sparkline_of,
    svg_of,
)
from loadtest.report.result import (
    CPU_LIMIT,
    FILE,
    RUNS,
    Latency,
    ReadError,
    Result,
    Sample,
    read_result,
    split_page,
    write_whole,
)
from varde_contract.close_codes import MEANINGS, CloseCode

_MACHINE: Final = ("cpu", "cores", "memory_gib", "kernel")  # what of a fingerprint tells one machine from another
_CLOSES: Final = {
    **{str(int(code)): (code.name.lower().replace("_", "-"), "") for code in frames.CloseCode},
    **{str(int(code)): (code.label, MEANINGS[code].when) for code in CloseCode},
}
_NOT_IN_A_TAG: Final = re.compile(r"[\s,]+")  # the format ends a tag at a comma, and a line at a break
COLUMNS: Final = tuple(name for name in Sample.__struct_fields__ if name != "server")
PAGE: Final = Path(__file__).parents[2] / "docs/load-results.md"
PICTURES: Final = Path("benchmarks/load")
_TIMED: Final = {"send_to_receive": "send to receive", "request": "request", "connect": "SYN to Welcome"}
_ROW: Final = re.compile(r"^\| \[.*\]\(benchmarks/load/([\w-]+)\.png\).*$", re.MULTILINE)
_MACHINE_LINE: Final = re.compile(r"^Machine: .*$", re.MULTILINE)


def write_reports(result: Result, folder: Path) -> list[Path]:
    """Write every output of any run, and return the files. What goes wrong with one is raised after the others."""
    folder.mkdir(parents=True, exist_ok=True)
    written, faults = list[Path](), list[Exception]()
    for name, make in OUTPUTS.items():
        try:
            content = make(result)
        except Exception as fault:  # noqa: BLE001 - the other outputs shall not be lost with it
            faults.append(fault)
        else:
            written.append(write_whole(folder / name, content.encode() if isinstance(content, str) else content))
    if folder.parent == RUNS:
        write_index()
    if faults:
        raise faults[0]
    return written


def csv_of(result: Result) -> str:
    """Return a row for each second: the fields of a sample, then every series of the servers, sorted (RFC 4180)."""
    keys = sorted({key for sample in result.series for key in sample.server})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow((*COLUMNS, *keys))
    for sample in result.series:
        writer.writerow((*(getattr(sample, name) for name in COLUMNS), *(sample.server.get(key) for key in keys)))
    return text.getvalue()


def hdr_log_of(result: Result) -> str:
    """Return the histograms as a log for the tools of HdrHistogram: format 1.3, an interval for each stage and kind."""
    try:
        began = datetime.fromisoformat(result.started).astimezone(UTC)
    except ValueError:
        began = datetime.fromtimestamp(0, UTC)
    judged = [stage for stage in result.stages if stage.judged]
    first = judged[0].began_s if judged else 0.0
    length = judged[-1].began_s + judged[-1].seconds - first if judged else result.seconds
    stages = ((f"stage.{each.name}", each.began_s, each.seconds, each.latency_ms) for each in result.stages)
    # In the order of their beginnings, as the format asks.
    intervals = sorted([("judged", first, length, result.latency_ms), *stages], key=itemgetter(1))
    tagged = [(_NOT_IN_A_TAG.sub("-", tag), *more) for tag, *more in intervals]
    return TEMPLATES.get_template("latency.hdr").render(began=began, intervals=tagged)


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
        rows[result.scenario] = _published_row(result)
    machines = dict.fromkeys([*_MACHINE_LINE.findall(written), *map(_machine_line, results)])
    table = (
        TEMPLATES.get_template("published_head.md").render()
        + "\n"
        + "\n".join(filter(None, rows.values()))
        + "\n\n"
        + "\n".join(machines)
    )
    page.write_text(f"{before}\n\n{table}\n\n{after}", encoding="utf-8")


def _published_row(result: Result) -> str:
    figures = (result.latency_ms, *(stage.latency_ms for stage in result.stages))  # of what was judged, or at all
    found = ((words, getattr(each, kind)) for each in figures for kind, words in _TIMED.items())
    kind, latency = next(((words, latency) for words, latency in found if latency.count), ("-", Latency()))
    servers, cores = [row.server for row in result.judged_series if row.server], list[float | None]()
    for process in ("relay", "postgres"):
        used = [value for row in servers for key, value in row.items() if re.match(rf"{process}.*\.cpu_percent$", key)]
        cores.append(sum(used) / len(servers) / 100 if servers else None)
    given = {"kind": kind, "latency": latency, "cores": cores, "picture": f"{PICTURES}/{result.scenario}.png"}
    return TEMPLATES.get_template("published.md").render(result=result, **given).strip()


def _machine_line(result: Result) -> str:
    seen = {"cpu": "?", "cores": "?", "memory_gib": "?", "kernel": "?", "python": "?"} | result.environment
    return "Machine: {cpu}, {cores} cores, {memory_gib} GiB, {kernel}, {python}.".format_map(seen)


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

OUTPUTS: Final[dict[str, Callable[[Result], str | bytes]]] = {
    FILE: lambda result: msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n",
    "series.csv": csv_of,
    "latency.hdr": hdr_log_of,
    "junit.xml": junit_of,
    "report.html": page_of,
    "report.png": picture_of,
}
"""In the order in which they are written."""
