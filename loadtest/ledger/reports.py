"""What a worker's ledger tells the master: a tick each second and a report at the end, as compressed msgpack."""

import zlib
from collections.abc import Iterable
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from loadtest.ledger.histogram import Histogram, Sums


class LedgerError(Exception):
    """What a worker sent is no tick or report, or does not fit the crowd."""


class Tick(Sums):
    """What happened within a second; `connected`, `pending` and `at_ns` say how it is at its end.

    Of what came and was not due: `undecryptable`, `astray` (to the wrong place), `earlier` (of an earlier run).
    """

    at_ns: int = 0
    connected: int = 0
    pending: int = 0
    sent: int = 0
    due: int = 0
    acked: int = 0
    refused: int = 0
    received: int = 0
    resent: int = 0
    connects: int = 0
    reconnects: int = 0
    failed: int = 0
    closed: int = 0
    requests: int = 0
    failures: int = 0
    undecryptable: int = 0
    astray: int = 0
    earlier: int = 0
    ack: Histogram = field(default_factory=Histogram)
    receive: Histogram = field(default_factory=Histogram)
    request: Histogram = field(default_factory=Histogram)
    raw: Histogram = field(default_factory=Histogram)  # of what was received, and of requests: from when it was sent

    def beside(self, other: "Tick") -> None:
        """Add another worker's tick of the same second."""
        at_ns = max(self.at_ns, other.at_ns)
        self.merge(other)
        self.at_ns = at_ns

    def then(self, later: "Tick") -> None:
        """Add what happened afterwards, for figures so far."""
        self.merge(later)
        self.at_ns, self.connected, self.pending = later.at_ns, later.connected, later.pending


class Stream(Struct, array_like=True, gc=False):
    """What one sender sent to one room: numbers 1 to `sent`, of which some were refused or not acked."""

    sender: int
    room: int
    sent: int
    refused: tuple[int, ...]
    unacked: tuple[int, ...]


class Arrivals(Struct, array_like=True, gc=False):
    """What of one sender's messages to a room came to one receiver: 1 to `highest`, without the holes."""

    receiver: int
    room: int
    sender: int
    highest: int
    holes: tuple[int, ...] = ()
    duplicated: int = 0
    disordered: int = 0


class OperationSums(Sums):
    """One operation of the API within one stage. Failures are in the histograms too: they took their time as well."""

    corrected: Histogram = field(default_factory=Histogram)
    raw: Histogram = field(default_factory=Histogram)
    failures: dict[str, int] = field(default_factory=dict)


class StageSums(Sums):
    """One stage. `sent`, `acked`, `received`: of messages due in it; `*_within`: what happened while it was open."""

    sent: int = 0
    acked: int = 0
    refused: int = 0
    received: int = 0
    acked_within: int = 0
    received_within: int = 0
    requests_within: int = 0
    ack: Histogram = field(default_factory=Histogram)
    raw_ack: Histogram = field(default_factory=Histogram)
    receive: Histogram = field(default_factory=Histogram)
    raw_receive: Histogram = field(default_factory=Histogram)
    connect: Histogram = field(default_factory=Histogram)
    backlog: Histogram = field(default_factory=Histogram)
    operations: dict[str, OperationSums] = field(default_factory=dict)


class Totals(Sums):
    """What all workers counted over the run. `stages` by index of the plan."""

    ticks: Tick = field(default_factory=Tick)  # all of them together
    stages: dict[int, StageSums] = field(default_factory=dict)
    close_codes: dict[str, int] = field(default_factory=dict)
    connect_faults: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0  # requests that were due, and neither answered nor given up when the run ended


class Report(Struct, array_like=True, kw_only=True):
    """Everything that one worker recorded."""

    streams: tuple[Stream, ...]
    arrivals: tuple[Arrivals, ...]
    excused: dict[tuple[int, int], int]  # `(receiver, room)`: numbers that a gap record said are not to be had
    attending: tuple[int, ...]  # receivers that wanted to receive to the end
    absent: tuple[int, ...]  # receivers that had been there and left of their own will
    totals: Totals


_Written = TypeVar("_Written", Tick, Report)


def write(written: Tick | Report) -> bytes:
    """Return it as bytes."""
    return zlib.compress(msgspec.msgpack.encode(written), zlib.Z_BEST_SPEED)


def read(written: bytes, kind: type[_Written]) -> _Written:
    """Return what was written. Raises LedgerError."""
    try:
        return msgspec.msgpack.decode(zlib.decompress(written), type=kind)
    except (zlib.error, msgspec.MsgspecError):
        raise LedgerError(f"a worker's {kind.__name__} cannot be read") from None


def merge_ticks(written: Iterable[bytes]) -> Tick:
    """Return the ticks of all workers as one. Raises LedgerError for what is no tick."""
    merged = Tick()
    for each in written:
        merged.beside(read(each, Tick))
    return merged
