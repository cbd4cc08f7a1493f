"""Whether the database is away, and since when: reported by whatever queries it, asked by whatever admits work."""

from typing import Final

import trio

from varde_contract.refusals import RefusalCode, Refused

RETRY: Final = 1.0
"""Seconds between two attempts while the database is away. One attempt tells everybody whether it is back."""

UNAVAILABLE: Final = Refused(
    RefusalCode.UNAVAILABLE, "The database is away; nothing was stored. Send the same again.", retry_after_ms=1_000
)


class Outage:
    """An outage begins with a query that fails and ends with one that is answered."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: float | None = None
        self._failed_at = 0.0
        self.begun = 0
        """Outages so far."""
        self.failures = 0
        """Queries that failed so far."""

    def failed(self) -> None:
        """Report that the database did not answer."""
        self._failed_at = trio.current_time()
        self.failures += 1
        if self._since is None:
            self.begun += 1
            self._since = self._failed_at

    def answered(self) -> None:
        """Report that the database answered."""
        self._since = None

    @property
    def away(self) -> bool:
        """Whether the last query failed."""
        return self._since is not None

    @property
    def seconds(self) -> float:
        """Seconds since the outage began; 0 without one."""
        return 0.0 if self._since is None else trio.current_time() - self._since

    @property
    def just_failed(self) -> bool:
        """Whether the last failure is so recent that another attempt is not worth it."""
        return self._since is not None and trio.current_time() < self._failed_at + RETRY

    @property
    def lasting(self) -> bool:
        """Whether the outage has lasted longer than joins should wait."""
        return self._since is not None and trio.current_time() > self._since + self._patience
