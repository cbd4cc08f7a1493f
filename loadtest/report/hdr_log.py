"""The histograms of a run as a log for the tools of HdrHistogram: format 1.3, an interval for each stage and kind."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from loadtest.report.result import Latencies, Latency, Result

_LEGEND: Final = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
_NOT_IN_A_TAG: Final = re.compile(r"[\s,]+")  # the format ends a tag at a comma, and a line at a break


def hdr_log_of(result: Result) -> str:
    """Return the text. Values are in microseconds, the greatest of an interval in milliseconds, times in seconds."""
    began = _began(result)
    head = (
        "#[Varde load report; values in microseconds, Interval_Max in milliseconds]",
        "#[Histogram log format version 1.3]",
        f"#[StartTime: {began.timestamp():.3f} (seconds since epoch), {began:%a %b %d %H:%M:%S UTC %Y}]",
        f"#[BaseTime: {began.timestamp():.3f} (seconds since epoch)]",
        _LEGEND,
    )
    return "\n".join((*head, *_lines(result), ""))


def _began(result: Result) -> datetime:
    try:
        return datetime.fromisoformat(result.started).astimezone(UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)


def _lines(result: Result) -> Iterator[str]:
    """In the order of their beginnings, as the format asks."""
    judged = [stage for stage in result.stages if stage.judged]
    if not judged:
        yield from _kinds("judged", 0.0, result.seconds, result.latency_ms)
    for stage in sorted(result.stages, key=lambda stage: stage.began_s):
        if judged and stage is judged[0]:
            until = judged[-1].began_s + judged[-1].seconds
            yield from _kinds("judged", stage.began_s, until - stage.began_s, result.latency_ms)
        yield from _kinds(f"stage.{stage.name}", stage.began_s, stage.seconds, stage.latency_ms)


def _kinds(tag: str, began_s: float, seconds: float, latencies: Latencies) -> Iterator[str]:
    for kind, latency in msgspec.structs.asdict(latencies).items():
        assert isinstance(latency, Latency)
        if latency.hdr and latency.max is not None:
            name = _NOT_IN_A_TAG.sub("-", f"{tag}.{kind}")
            yield f"Tag={name},{began_s:.3f},{seconds:.3f},{latency.max:.3f},{latency.hdr}"
