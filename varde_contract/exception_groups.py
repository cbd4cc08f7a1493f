"""One exception out of the groups that nurseries put around it (PEP 654)."""

from collections.abc import Iterator
from contextlib import contextmanager


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
