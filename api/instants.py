"""Times, from the integer milliseconds of the domain to the datetimes of REST."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant(milliseconds: int) -> datetime:
    """Return the UTC datetime of milliseconds since the Unix epoch, exactly."""
    return _EPOCH + timedelta(milliseconds=milliseconds)
