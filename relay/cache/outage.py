"""Whether the database is away, and since when: said by everything that asks it, heard by everything that admits."""

from typing import Final

import trio

from varde_contract.refusals import RefusalCode, Refused

RETRY: Final = 1.0
"""Seconds between two attempts while the database is away: one batch finds out for everybody."""

UNAVAILABLE: Final = Refused(
    RefusalCode.UNAVAILABLE, "The database is away; nothing was stored. Send the same again.", retry_after_ms=1_000
)


class Outage:
    """Begins with a failure and ends with an answer."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: float | None = None
        self._failed_at = 0.0
        self.begun = 0
        """How often it went away."""
        self.failures = 0
        """Questions it did not answer."""

    def failed(self) -> None:
        """The database did not answer."""
        self._failed_at = trio.current_time()
        self.failures += 1
        if self._since is None:
            self.begun += 1
            self._since = self._failed_at

    def answered(self) -> None:
        """The database did answer."""
        self._since = None

    @property
    def away(self) -> bool:
        """Whether its last answer was none."""
        return self._since is not None

    @property
    def seconds(self) -> float:
        """How long it has been away; 0 while it is there."""
        return 0.0 if self._since is None else trio.current_time() - self._since

    @property
    def just_failed(self) -> bool:
        """Whether it is no use to try already again."""
        return self._since is not None and trio.current_time() < self._failed_at + RETRY

    @property
    def lasting(self) -> bool:
        """Whether it has been away for longer than joins should wait."""
        return self._since is not None and trio.current_time() > self._since + self._patience
