"""A run clock that a test turns by hand."""

from loadtest.ledger.run_time import RunClock


class ManualClock(RunClock):
    """Shows what it was set to, in nanoseconds."""

    def __init__(self, now_ns: int = 0) -> None:
        super().__init__()
        self.shows_ns = now_ns

    def now_ns(self) -> int:
        """Return it."""
        return self.shows_ns
