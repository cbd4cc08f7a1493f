"""One second of a run, of all workers together: for the progress line and the time series."""

from collections.abc import Iterable

from loadtest.ledger.histogram import Histogram
from loadtest.ledger.pages import TickPage, read_page
from loadtest.ledger.second import COUNTERS


class Tick:
    """Counters of one or several ticks; `connected` and `pending` are sums over workers at their last tick.

    `ack`, `receive`, `request`: corrected latencies of what happened meanwhile; `raw`: the last two, from when sent.
    """

    def __init__(self) -> None:
        self.at_ns = 0
        self.connected = self.pending = 0
        self.sent = self.due = self.acked = self.refused = self.received = self.resent = 0
        self.connects = self.reconnects = self.failed = self.closed = 0
        self.requests = self.failures = 0
        self.ack, self.receive, self.request = Histogram(), Histogram(), Histogram()
        self.raw = Histogram()

    def beside(self, other: "Tick | TickPage") -> None:
        """Add another worker's tick of the same second."""
        self._count(other)
        self.at_ns = max(self.at_ns, other.at_ns)
        self.connected += other.connected
        self.pending += other.pending

    def then(self, later: "Tick") -> None:
        """Add what happened afterwards, for figures so far."""
        self._count(later)
        self.at_ns, self.connected, self.pending = later.at_ns, later.connected, later.pending

    def _count(self, other: "Tick | TickPage") -> None:
        for name in COUNTERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in (
            (self.ack, other.ack),
            (self.receive, other.receive),
            (self.request, other.request),
            (self.raw, other.raw),
        ):
            mine.add(theirs if isinstance(theirs, Histogram) else Histogram(theirs))


def merge_ticks(written: Iterable[bytes]) -> Tick:
    """Return the ticks of all workers as one. Raises LedgerError for what is no tick."""
    merged = Tick()
    for each in written:
        merged.beside(read_page(each, TickPage))
    return merged
