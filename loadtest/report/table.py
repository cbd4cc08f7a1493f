"""The series of a run as CSV, a row each second."""

import csv
import io
from typing import Final

import msgspec

from loadtest.report.result import Result, Sample

COLUMNS: Final = tuple(name for name in Sample.__struct_fields__ if name != "server")


def table_of(result: Result) -> str:
    """Return the text: the fields of a sample in their order, then every series of the servers, sorted (RFC 4180)."""
    keys = sorted({key for sample in result.series for key in sample.server})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow((*COLUMNS, *keys))
    for sample in result.series:
        own = msgspec.structs.asdict(sample)
        writer.writerow((*(own[name] for name in COLUMNS), *(sample.server.get(key) for key in keys)))
    return text.getvalue()
