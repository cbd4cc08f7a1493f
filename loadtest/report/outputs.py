"""The outputs of a run, all into one folder."""

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from loadtest.report.charts import picture_of
from loadtest.report.page import TEMPLATES, junit_of, page_of, write_index
from loadtest.report.result import FILE, RUNS, Result, Sample, write_whole

_NOT_IN_A_TAG: Final = re.compile(r"[\s,]+")  # the format ends a tag at a comma, and a line at a break
COLUMNS: Final = tuple(name for name in Sample.__struct_fields__ if name != "server")


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


OUTPUTS: Final[dict[str, Callable[[Result], str | bytes]]] = {
    FILE: lambda result: msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n",
    "series.csv": csv_of,
    "latency.hdr": hdr_log_of,
    "junit.xml": junit_of,
    "report.html": page_of,
    "report.png": picture_of,
}
"""In the order in which they are written."""
