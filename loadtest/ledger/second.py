"""The running second of a worker's book."""

from typing import Final

from loadtest.ledger.histogram import Histogram
from loadtest.ledger.pages import TickPage, write_page

COUNTERS: Final = (
    "sent",
    "due",
    "acked",
    "refused",
    "received",
    "resent",
    "connects",
    "reconnects",
    "failed",
    "closed",
    "requests",
    "failures",
)
"""Fields of a tick that count what happened within it; the others say how it is at its end."""


class Second:
    """What happened since the last tick: `page` to count on, four histograms to record in."""

    def __init__(self) -> None:
        self._before = dict.fromkeys(COUNTERS, 0)
        self._open(connected=0)

    def _open(self, connected: int) -> None:
        self.page = page = TickPage(connected=connected)
        self.ack, self.receive, self.request = Histogram(page.ack), Histogram(page.receive), Histogram(page.request)
        self.raw = Histogram(page.raw)

    def close(self, now_ns: int, pending: int) -> bytes:
        """Return the tick, and begin the next one."""
        page = self.page
        page.at_ns, page.pending = now_ns, pending
        self._before = self.counts()
        self._open(page.connected)
        return write_page(page)

    def counts(self) -> dict[str, int]:
        """Return what was counted since the run began, this second included."""
        return {name: before + getattr(self.page, name) for name, before in self._before.items()}
