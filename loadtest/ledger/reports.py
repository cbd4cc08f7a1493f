"""What a worker's ledger tells the master: a tick each second and a report at the end, as compressed msgpack."""

import zlib
from collections.abc import Iterable
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from loadtest.ledger.histogram import Histogram, Sums
from loadtest.report.result import Endpoint, Latencies


class LedgerError(Exception):
    """What a worker sent is no tick or report, or does not fit the crowd."""


class OperationSums(Sums):
    """One operation of the API within one stage. Failures are in the histogram too: they took their time as well."""

    latency: Histogram = field(default_factory=Histogram)
    failures: dict[str, int] = field(default_factory=dict)


class StageSums(Sums):
    """One stage: what was due in it, and in `*_within` what happened while it was open. `due` counts deliveries."""

    sent: int = 0
    due: int = 0
    refused: int = 0
    received: int = 0
    acked_within: int = 0
    received_within: int = 0
    requests_within: int = 0
    failures: int = 0
    send_to_ack: Histogram = field(default_factory=Histogram)
    send_to_receive: Histogram = field(default_factory=Histogram)
    raw_send_to_ack: Histogram = field(default_factory=Histogram)
    raw_send_to_receive: Histogram = field(default_factory=Histogram)
    connect: Histogram = field(default_factory=Histogram)
    request: Histogram = field(default_factory=Histogram)
    raw_request: Histogram = field(default_factory=Histogram)
    backlog: Histogram = field(default_factory=Histogram)
    operations: dict[str, OperationSums] = field(default_factory=dict)

    def latencies(self) -> Latencies:
        """Return the figures of a result."""
        return Latencies(**{name: getattr(self, name).latency() for name in Latencies.__struct_fields__})


class Totals(Sums):
    """What was counted in a second, or over a run. `stages` by index of the plan.

    `connected` and `pending` are by how much these grew, so that their sums say how it is. Of what came and was not
    due: `undecryptable`, `astray` (to the wrong place), `earlier` (of an earlier run).
    """

    connected: int = 0
    pending: int = 0  # messages and requests that the server has not answered for
    resent: int = 0
    reconnects: int = 0
    undecryptable: int = 0
    astray: int = 0
    earlier: int = 0
    stages: dict[int, StageSums] = field(default_factory=dict)
    close_codes: dict[str, int] = field(default_factory=dict)
    connect_faults: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)

    def sum_of(self, stages: Iterable[int] | None = None) -> StageSums:
        """Return several stages together, or all of them: figures are as exact as those of one."""
        whole = StageSums()
        for index in self.stages if stages is None else stages:
            if index in self.stages:
                whole.merge(self.stages[index])
        return whole

    def endpoints_of(self, stages: Iterable[int]) -> list[Endpoint]:
        """Return the operations of the API in several stages together, by name."""
        return [
            Endpoint(name=name, requests=(it := each.latency).count, latency_ms=it.latency(), failures=each.failures)
            for name, each in sorted(self.sum_of(stages).operations.items())
        ]


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


class Report(Struct, array_like=True, kw_only=True):
    """Everything that one worker recorded."""

    streams: tuple[Stream, ...]
    arrivals: tuple[Arrivals, ...]
    excused: dict[tuple[int, int], int]  # `(receiver, room)`: numbers that a gap record said are not to be had
    attending: tuple[int, ...]  # receivers that wanted to receive to the end
    absent: tuple[int, ...]  # receivers that had been there and left of their own will
    totals: Totals


_Written = TypeVar("_Written", Totals, Report)


def write(written: Totals | Report) -> bytes:
    """Return it as bytes."""
    return zlib.compress(msgspec.msgpack.encode(written), zlib.Z_BEST_SPEED)


def read(written: bytes, kind: type[_Written]) -> _Written:
    """Return what was written. Raises LedgerError."""
    try:
        return msgspec.msgpack.decode(zlib.decompress(written), type=kind)
    except (zlib.error, msgspec.MsgspecError):
        raise LedgerError(f"a worker's {kind.__name__} cannot be read") from None
