"""One exception out of the groups that nurseries put around it (PEP 654), and where it was raised."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def single_cause(error: BaseException) -> BaseException:
    """Return what is inside groups of one. A group that holds more stays as it is, so that no failure is hidden."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        (error,) = error.exceptions
    return error


def first_cause(error: BaseException) -> BaseException:
    """Return the first exception of the innermost group: for a log line, which has room for one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@contextmanager
def ungrouped() -> Iterator[None]:
    """Let a single exception leave the block without groups around it: its caller need not know of a nursery."""
    try:
        yield
    except BaseExceptionGroup as group:
        cause = single_cause(group)
        # `from None` would cut off a cause that the exception itself was raised from.
        raise cause from cause.__cause__


def locate(error: BaseException) -> str:
    """Return the type of the first cause and the line that raised it: `KeyError at devices.py:40 in register`.

    A server logs no more of an exception: its text may hold what a peer sent.
    """
    error = first_cause(error)
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__qualname__
    last = frames[-1]
    return f"{type(error).__qualname__} at {Path(last.filename).name}:{last.lineno} in {last.name}"
