"""What a worker's book says to the conductor: a tick each second and a report at the end, as msgpack."""

import zlib
from typing import Final, TypeVar

import msgspec
from msgspec import Struct, field

Buckets = dict[int, int]
"""A histogram, `ledger.histogram.Histogram.buckets`."""


class LedgerError(Exception):
    """What a worker sent is no tick or report, or does not fit the crowd."""


class TickPage(Struct, array_like=True):
    """What happened since the last tick; `connected`, `pending` and `at_ns` say how it is now."""

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
    ack: Buckets = field(default_factory=dict)
    receive: Buckets = field(default_factory=dict)
    request: Buckets = field(default_factory=dict)
    raw: Buckets = field(default_factory=dict)
    """Of what was received, and of requests: from when it was sent."""


class StreamPage(Struct, array_like=True, gc=False):
    """What one sender sent to one room: numbers 1 to `sent`, of which some were refused or not acked."""

    sender: int
    room: int
    sent: int
    refused: tuple[int, ...]
    unacked: tuple[int, ...]


class ArrivalPage(Struct, array_like=True, gc=False):
    """What of one sender's messages to a room came to one receiver: 1 to `highest`, without the holes."""

    receiver: int
    room: int
    sender: int
    highest: int
    holes: tuple[int, ...] = ()
    duplicated: int = 0
    disordered: int = 0


class EndpointPage(Struct, array_like=True):
    """One operation of the API within one stage. Both histograms hold failures too: those took their time as well."""

    name: str
    corrected: Buckets
    raw: Buckets
    failures: dict[str, int]


class StagePage(Struct, array_like=True):
    """One stage. `sent`, `acked`, `received`: of messages due in it; `*_within`: what happened while it was open."""

    index: int
    sent: int
    acked: int
    refused: int
    received: int
    acked_within: int
    received_within: int
    requests_within: int
    histograms: dict[str, Buckets]
    endpoints: tuple[EndpointPage, ...]


class ReportPage(Struct, array_like=True):
    """Everything that one worker booked."""

    streams: tuple[StreamPage, ...]
    arrivals: tuple[ArrivalPage, ...]
    excused: tuple[tuple[int, int, int], ...]
    """`(receiver, room, numbers)` that a gap record said are not to be had."""
    attending: tuple[int, ...]
    """Receivers that wanted to receive to the end."""
    absent: tuple[int, ...]
    """Receivers that had been there and left of their own will."""
    stages: tuple[StagePage, ...]
    counts: dict[str, int]
    close_codes: dict[str, int]
    connect_faults: dict[str, int]
    refusals: dict[str, int]
    gaps: dict[str, int]


_Page = TypeVar("_Page", TickPage, ReportPage)
_FASTEST: Final = 1


def write_page(page: TickPage | ReportPage) -> bytes:
    """Return the page as bytes: msgpack, compressed."""
    return zlib.compress(msgspec.msgpack.encode(page), _FASTEST)


def read_page(written: bytes, kind: type[_Page]) -> _Page:
    """Return a page. Raises LedgerError."""
    try:
        return msgspec.msgpack.decode(zlib.decompress(written), type=kind)
    except (zlib.error, msgspec.MsgspecError):
        raise LedgerError(f"a worker's {kind.__name__} cannot be read") from None
