"""What may be said in a log of an exception: its type and its place."""

import traceback
from pathlib import Path

from varde_contract.exception_groups import first_cause


def describe(error: BaseException) -> str:
    """Return the innermost type and the line that raised it, for example `KeyError at devices.py:40 in register`."""
    error = first_cause(error)
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__qualname__
    last = frames[-1]
    return f"{type(error).__qualname__} at {Path(last.filename).name}:{last.lineno} in {last.name}"
