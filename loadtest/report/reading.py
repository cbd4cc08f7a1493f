"""A result from its folder."""

from pathlib import Path
from typing import Final

import msgspec

from loadtest.report.result import SCHEMA, Result

FILE: Final = "result.json"


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
