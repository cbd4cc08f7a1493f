"""What may be said in a log of an exception: its type and its place."""

import traceback
from pathlib import Path


def describe(error: BaseException) -> str:
    """Return the innermost type and the line that raised it, for example `KeyError at devices.py:40 in register`."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__qualname__
    last = frames[-1]
    return f"{type(error).__qualname__} at {Path(last.filename).name}:{last.lineno} in {last.name}"
