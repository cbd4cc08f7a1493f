"""One exception out of the groups that nurseries put around it.

Where several things failed at once, nothing is hidden: the group stays as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager


def single_cause(error: BaseException) -> BaseException:
    """Return what is inside groups of one, or the first group that holds more."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        (error,) = error.exceptions
    return error


@contextmanager
def ungrouped() -> Iterator[None]:
    """Let a single exception leave the block without groups around it."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise single_cause(group) from None
