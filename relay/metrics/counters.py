"""The counters of one node since it started: plain ints, because the hot path counts several things per message."""

from collections.abc import Iterable
from typing import Final, TypeVar, get_args

from msgspec import Struct

from domain.events import Event
from observability.histogram import BYTES, COUNTS, SECONDS, Histogram
from relay.metrics.labels import (
    CLOSE_CODES,
    UNKNOWN_CODE,
    HandshakeOutcome,
    Hostility,
    JoinOutcome,
    JournalRefusal,
)
from varde_contract.frames import EPHEMERAL, ReceivedFrame, ServerFrame
from varde_contract.refusals import RefusalCode
from varde_contract.talk import GapReason

K = TypeVar("K")

GENERATIONS: Final = 3


class SeveralFrames(Struct, tag="several"):
    """The key for the bytes of a message with several frames: they cannot be attributed to one."""


class CloseCodeCounts(dict[int | None, int]):
    """Counts by close code, None for an end without one. A peer may send any code, and must not make a new label."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(CLOSE_CODES, 0))

    def __missing__(self, code: int | None) -> int:
        return self[UNKNOWN_CODE]

    def __setitem__(self, code: int | None, count: int) -> None:
        super().__setitem__(code if code in self else UNKNOWN_CODE, count)


class Metrics:
    """Counted where it happens: `metrics.frames_in[type(frame)] += 1`. Every key is there from the start."""

    __slots__ = (
        *("frames_in", "bytes_in", "frames_out", "bytes_out", "dropped", "refusals", "gaps"),
        *("handshakes", "disconnects", "joins", "hostile"),
        *("flushes", "partial_writes", "reactor_passes", "reactor_events", "fan_out"),
        *("commits", "batch_drafts", "batch_bytes", "committed", "duplicates", "decided_again", "journal_refusals"),
        *("reads", "read_requests", "failed_reads"),
        *("stored_receipts", "receipt_batches", "failed_receipts"),
        *("events_published", "events_dropped", "events_received", "resyncs"),
        *("revocations_loaded", "revocations_failed"),
        *("pings", "lateness", "pauses", "freezes", "thaws"),
        *("scrapes",),
    )

    def __init__(self) -> None:
        # On the wire.
        self.frames_in = _zeros(_kinds(ReceivedFrame))
        self.bytes_in: dict[type[Struct], int] = _zeros((*_kinds(ReceivedFrame), SeveralFrames))
        """Of Noise messages, by the kind of their only frame."""
        self.frames_out = _zeros(_kinds(ServerFrame))
        self.bytes_out = _zeros(_kinds(ServerFrame))
        """Encoded, before they are sealed."""
        self.dropped: dict[type[Struct], int] = _zeros(EPHEMERAL)
        self.refusals = _zeros(RefusalCode)
        """Frames that were answered with `refused`."""
        self.gaps = _zeros(GapReason)
        """Numbers that a device was told it cannot have, other than its own message as it is published."""
        # Connections.
        self.handshakes = _zeros(HandshakeOutcome)
        self.disconnects = CloseCodeCounts()
        self.joins = _zeros(JoinOutcome)
        self.hostile = _zeros(Hostility)
        # The reactor and the outboxes.
        self.flushes = 0
        self.partial_writes = 0
        self.reactor_passes = 0
        self.reactor_events = 0
        self.fan_out = Histogram(SECONDS)
        """Seconds from a commit until every local listener was sent its messages."""
        # The journal.
        self.commits = Histogram(SECONDS)
        """Seconds that each commit took, those that failed too."""
        self.batch_drafts = Histogram(COUNTS)
        self.batch_bytes = Histogram(BYTES)
        self.committed = 0
        self.duplicates = 0
        self.decided_again = 0
        self.journal_refusals = _zeros(JournalRefusal)
        # Reading the log, storing receipts.
        self.reads = Histogram(SECONDS)
        self.read_requests = Histogram(COUNTS)
        self.failed_reads = 0
        self.stored_receipts = 0
        self.receipt_batches = Histogram(COUNTS)
        self.failed_receipts = 0
        # The bus.
        self.events_published = _zeros(_kinds(Event))
        self.events_dropped = 0
        self.events_received = _zeros(_kinds(Event))
        self.resyncs = 0
        self.revocations_loaded = 0
        self.revocations_failed = 0
        # The process.
        self.pings = 0
        self.lateness = Histogram(SECONDS)
        self.pauses = tuple(Histogram(SECONDS) for _ in range(GENERATIONS))
        """Seconds of each garbage collection, by generation."""
        self.freezes = 0
        self.thaws = 0
        self.scrapes = 0


def _zeros(keys: Iterable[K]) -> dict[K, int]:
    return dict.fromkeys(keys, 0)


def _kinds(union: object) -> tuple[type[Struct], ...]:
    return get_args(union)
