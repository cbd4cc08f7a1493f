"""All outputs of a run, into one folder."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from loadtest.report.junit import junit_of
from loadtest.report.log import log_of
from loadtest.report.reading import FILE
from loadtest.report.result import Result
from loadtest.report.table import table_of


def write_reports(result: Result, folder: Path) -> list[Path]:
    """Write every output of a run, also of one that measured nothing, and return the files.

    Nothing of the result is changed. Raises OSError when the folder cannot be written to. What goes wrong with one
    output is raised after all others were written.
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
                written.append(_write(folder / name, content))
    return written


def _write(path: Path, content: bytes) -> Path:
    """Replace the file as a whole, so that who reads meanwhile sees the old one or the new one."""
    half = path.with_name(f".{path.name}.half")
    half.write_bytes(content)
    return half.replace(path)


def _raise(error: Exception) -> None:
    raise error


def _json(result: Result) -> bytes:
    return msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n"


def _page(result: Result) -> bytes:
    from loadtest.report.page.document import document_of  # noqa: PLC0415 - only who writes pays for it

    return document_of(result).encode()


def _picture(result: Result) -> bytes:
    from loadtest.report.picture import picture_of  # noqa: PLC0415 - matplotlib takes a second to import

    return picture_of(result)


def _text(make: Callable[[Result], str]) -> Callable[[Result], bytes]:
    return lambda result: make(result).encode()


OUTPUTS: Final[dict[str, Callable[[Result], bytes]]] = {
    FILE: _json,
    "series.csv": _text(table_of),
    "latency.hdr": _text(log_of),
    "junit.xml": _text(junit_of),
    "report.html": _page,
    "report.png": _picture,
}
"""In the order in which they are written."""
