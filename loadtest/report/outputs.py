"""The outputs of a run, all into one folder, and `result.json` read again."""

import contextlib
import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from loadtest.report.result import SCHEMA, Latencies, Latency, Result, Sample

FILE: Final = "result.json"
_LEGEND: Final = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
_NOT_IN_A_TAG: Final = re.compile(r"[\s,]+")  # the format ends a tag at a comma, and a line at a break
COLUMNS: Final = tuple(name for name in Sample.__struct_fields__ if name != "server")


class ReadError(Exception):
    """There is no result to be read; the text names the file and says why."""


def read_result(path: Path) -> Result:
    """Read `result.json`, given the file or its folder. Raises ReadError."""
    file = path / FILE if path.is_dir() else path
    try:
        result = msgspec.json.decode(file.read_bytes(), type=Result)
    except OSError as error:
        raise ReadError(f"{file} cannot be read ({error.strerror}): give the folder of a run or its {FILE}") from error
    except msgspec.MsgspecError as error:
        raise ReadError(f"{file} is not the result of a run: {error}") from None
    if result.schema != SCHEMA:
        raise ReadError(f"{file} is a result of version {result.schema}; this program reads version {SCHEMA}")
    return result


def write_reports(result: Result, folder: Path) -> list[Path]:
    """Write every output of a run, also of one that measured nothing, and return the files.

    Raises OSError when the folder cannot be written to. What goes wrong with one output is raised after all others
    were written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with contextlib.ExitStack() as faults:
        for name, make in OUTPUTS.items():
            try:
                content = make(result)
            except Exception as error:  # noqa: BLE001 - the other outputs shall not be lost with it
                faults.callback(_raise, error)
            else:
                written.append(write_whole(folder / name, content))
    return written


def write_whole(path: Path, content: bytes) -> Path:
    """Replace a file as a whole: who reads meanwhile sees the old one or the new one."""
    half = path.with_name(f".{path.name}.half")
    half.write_bytes(content)
    return half.replace(path)


def _raise(error: Exception) -> None:
    raise error


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
    head = (
        "#[Varde load report; values in microseconds, Interval_Max in milliseconds]",
        "#[Histogram log format version 1.3]",
        f"#[StartTime: {began.timestamp():.3f} (seconds since epoch), {began:%a %b %d %H:%M:%S UTC %Y}]",
        f"#[BaseTime: {began.timestamp():.3f} (seconds since epoch)]",
        _LEGEND,
    )
    return "\n".join((*head, *_intervals(result), ""))


def _intervals(result: Result) -> Iterator[str]:
    """In the order of their beginnings, as the format asks."""
    judged = [stage for stage in result.stages if stage.judged]
    if not judged:
        yield from _interval("judged", 0.0, result.seconds, result.latency_ms)
    for stage in sorted(result.stages, key=lambda stage: stage.began_s):
        if judged and stage is judged[0]:
            until = judged[-1].began_s + judged[-1].seconds
            yield from _interval("judged", stage.began_s, until - stage.began_s, result.latency_ms)
        yield from _interval(f"stage.{stage.name}", stage.began_s, stage.seconds, stage.latency_ms)


def _interval(tag: str, began_s: float, seconds: float, latencies: Latencies) -> Iterator[str]:
    for kind, latency in msgspec.structs.asdict(latencies).items():
        assert isinstance(latency, Latency)
        if latency.hdr and latency.max is not None:
            name = _NOT_IN_A_TAG.sub("-", f"{tag}.{kind}")
            yield f"Tag={name},{began_s:.3f},{seconds:.3f},{latency.max:.3f},{latency.hdr}"


def _page(result: Result) -> bytes:
    from loadtest.report.page import page_of  # noqa: PLC0415 - matplotlib takes a second to import

    return page_of(result).encode()


def _junit(result: Result) -> bytes:
    from loadtest.report.page import junit_of  # noqa: PLC0415 - the same

    return junit_of(result).encode()


def _picture(result: Result) -> bytes:
    from loadtest.report.charts import picture_of  # noqa: PLC0415 - the same

    return picture_of(result)


OUTPUTS: Final[dict[str, Callable[[Result], bytes]]] = {
    FILE: lambda result: msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n",
    "series.csv": lambda result: csv_of(result).encode(),
    "latency.hdr": lambda result: hdr_log_of(result).encode(),
    "junit.xml": _junit,
    "report.html": _page,
    "report.png": _picture,
}
"""In the order in which they are written."""
