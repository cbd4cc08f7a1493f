"""What workers' ledgers tell the master, and the account that it makes of their reports.

Figures add up over seconds, stages and workers: counters, and HDR histograms of three digits, as compressed msgpack. A
tick comes each second, a report at the end. The account puts what senders say beside what receivers say.
"""

import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, chain
from typing import Any, Final, Self, TypeVar

import msgspec
from hdrh.histogram import HdrHistogram
from msgspec import Struct, field
from msgspec.structs import asdict

from loadtest.crowd.crowd import Room
from loadtest.exits import CouldNotRun
from loadtest.report.result import Endpoint, Latencies, Latency, Messages

MOST_US: Final = 3_600_000_000  # an hour. What took longer counts as that
DIGITS: Final = 3
_HALF_BITS: Final = 10
_BITS: Final = _HALF_BITS + 1
"""Of HdrHistogram for three digits: 2,048 exact values, and then 1,024 buckets for each doubling."""
_EXACT_US: Final = 1 << _BITS  # below this each microsecond has its own bucket; above, buckets grow with the value
_CURVE: Final = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0)


class Sums(Struct, array_like=True):
    """Counters, other sums, and dicts of either, which add up field by field."""

    def merge(self, other: Self) -> None:
        """Add all of another one."""
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, int):
                setattr(self, name, mine + theirs)
            elif isinstance(mine, Sums):
                mine.merge(theirs)
            else:
                merge_counts(mine, theirs)


def merge_counts(whole: dict[Any, Any], part: dict[Any, Any]) -> None:
    """Add one dict of counts, or of sums, to another."""
    for key, value in part.items():
        if isinstance(value, int):
            whole[key] = whole.get(key, 0) + value
        else:
            whole.setdefault(key, type(value)()).merge(value)


class Histogram(Sums):
    """Latencies, recorded in nanoseconds and kept in microseconds.

    HdrHistogram keeps all its 23,000 counts; a worker has one of these for each stage and operation, and sends several
    each second. `buckets` says how many by index of the HdrHistogram's counts, for `1, MOST_US, DIGITS`.
    """

    buckets: dict[int, int] = field(default_factory=dict)

    def record(self, took_ns: int) -> None:
        """Count one latency. A negative one, which an uncertain clock may give, counts as 0."""
        took_us = min(max(took_ns // 1_000, 0), MOST_US)
        if took_us >= _EXACT_US:
            shift = took_us.bit_length() - _BITS
            took_us = (shift << _HALF_BITS) + (took_us >> shift)
        self.buckets[took_us] = self.buckets.get(took_us, 0) + 1

    @property
    def count(self) -> int:
        """How many were recorded."""
        return sum(self.buckets.values())

    def percentiles_ms(self, places: Sequence[float]) -> list[float | None]:
        """Return the upper end of the bucket at each place (0 to 100), at 0 the lower one; None without any."""
        if not self.buckets:
            return [None for _ in places]
        indices = sorted(self.buckets)
        until = list(accumulate(self.buckets[index] for index in indices))
        ranks = [max(1, int(place * until[-1] / 100 + 0.5)) for place in places]
        found = [indices[bisect_left(until, rank)] for rank in ranks]
        return [_bounds_us(index)[place > 0] / 1_000 for index, place in zip(found, places, strict=True)]

    def percentile_ms(self, place: float) -> float | None:
        """Return the latency at one place; None when nothing was recorded."""
        return self.percentiles_ms((place,))[0]

    def latency(self) -> Latency:
        """Return the figures of a result."""
        if not self.buckets:
            return Latency()
        p50, p95, p99, p999, most = self.percentiles_ms((50.0, 95.0, 99.0, 99.9, 100.0))
        curve = [(place, value) for place, value in zip(_CURVE, self.percentiles_ms(_CURVE), strict=True) if value]
        hdr = HdrHistogram(1, MOST_US, DIGITS)
        for index, count in self.buckets.items():
            hdr.record_value(_bounds_us(index)[0], count)
        figures = {"p50": p50, "p95": p95, "p99": p99, "p999": p999, "max": most}
        return Latency(count=self.count, curve=curve, hdr=hdr.encode().decode(), **figures)

    def counts_ms(self) -> list[tuple[float, int]]:
        """Return each latency that was seen, at the upper end of its bucket, and how often."""
        return [(_bounds_us(index)[1] / 1_000, count) for index, count in sorted(self.buckets.items())]


def _bounds_us(index: int) -> tuple[int, int]:
    """Return the least and the most microseconds that a bucket stands for."""
    shift = max(0, (index >> _HALF_BITS) - 1)
    least = (index - (shift << _HALF_BITS)) << shift
    return least, least + (1 << shift) - 1


@lru_cache(maxsize=256)
def read_histogram(hdr: str) -> Histogram:
    """Return what was measured, from `Latency.hdr`; an empty text is nothing. Raises CouldNotRun."""
    try:
        # Much faster than the library's iterators, which walk each count in Python.
        counts = HdrHistogram.decode(hdr).counts if hdr else []
    except Exception as error:  # the library raises whatever its parts do: zlib, base64, struct and its own
        raise CouldNotRun("a histogram in the result is none that HdrHistogram can read") from error
    return Histogram({index: count for index, count in enumerate(counts) if count})


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


class Stream(Struct, array_like=True, gc=False):  # not tracked: there may be a million of these, without a cycle
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
    # At best speed: it is done each second, by the process that makes the load.
    return zlib.compress(msgspec.msgpack.encode(written), zlib.Z_BEST_SPEED)


def read(written: bytes, kind: type[_Written]) -> _Written:
    """Return what was written. Raises LedgerError."""
    try:
        return msgspec.msgpack.decode(zlib.decompress(written), type=kind)
    except (zlib.error, msgspec.MsgspecError):
        raise LedgerError(f"a worker's {kind.__name__} cannot be read") from None


class Account(Totals, kw_only=True):
    """Everything that all workers recorded, and what became of each message."""

    messages: Messages


def reconcile(written: Sequence[bytes], rooms: Sequence[Room]) -> Account:
    """Put the reports of all workers side by side. Raises LedgerError for what is no report or of another crowd."""
    reports, totals = [read(each, Report) for each in written], Totals()
    for report in reports:
        totals.merge(report.totals)
    totals.stages = dict(sorted(totals.stages.items()))
    counts = _Deliveries(reports, rooms).counts
    counts["astray"] += totals.astray
    counts["acked"] = counts["sent"] - counts["refused"] - counts["unacked"]
    messages = Messages(undecryptable=totals.undecryptable, resent=totals.resent, **counts)
    return Account(messages=messages, **asdict(totals))


class _Deliveries:
    """What became of every delivery that was due: `due == received + after_gap + unfetched + lost`, always.

    A message that was never acked and did not come is due to nobody: the server has promised nothing, and its sender
    still has it. It is `unacked`.
    """

    def __init__(self, reports: Sequence[Report], rooms: Sequence[Room]) -> None:
        self.counts = Counter[str]()
        self._rooms = rooms
        self._arrivals: dict[tuple[int, int], list[Arrivals]] = {}
        for arrivals in chain.from_iterable(report.arrivals for report in reports):
            self._arrivals.setdefault((arrivals.room, arrivals.sender), []).append(arrivals)
        self._attending = {receiver for report in reports for receiver in report.attending}
        # Where nobody was said to be there, nobody can be said to have been away.
        self._all_attend = not self._attending and not any(report.absent for report in reports)
        self._excused = {place: count for report in reports for place, count in report.excused.items()}
        self._missing = Counter[tuple[int, int]]()  # by receiver and room
        for stream in chain.from_iterable(report.streams for report in reports):
            self._count_stream(stream)
        for strange in chain.from_iterable(self._arrivals.values()):
            # It came to somebody outside the room, or from a stream that nobody reports.
            astray = strange.highest - len(strange.holes)
            self.counts.update(astray=astray, duplicated=strange.duplicated, disordered=strange.disordered)
        for place, missing in self._missing.items():
            after_gap = min(missing, self._excused.get(place, 0))
            self.counts.update(after_gap=after_gap, lost=missing - after_gap)

    def _count_stream(self, stream: Stream) -> None:
        """Count one stream and its deliveries. Raises LedgerError for a room that the crowd does not have."""
        if not 0 <= stream.room < len(self._rooms):
            raise LedgerError("a worker reports of a room that is not in the crowd: do all use the same file?")
        receivers = set(self._rooms[stream.room].members) - {stream.sender}
        due = stream.sent - len(stream.refused)
        self.counts.update(sent=stream.sent, refused=len(stream.refused), unacked=len(stream.unacked))
        self.counts["due"] += due * len(receivers)
        strange, whole = [], 0
        for each in self._arrivals.pop((stream.room, stream.sender), ()):
            if each.receiver not in receivers:
                strange.append(each)
                continue
            receivers.remove(each.receiver)
            if each.highest == due == stream.sent and not (each.holes or each.duplicated or each.disordered):
                whole += due  # as it should be; there may be millions of these
            else:
                self._count_arrivals(stream, each, due)
        for receiver in receivers:
            self._count_arrivals(stream, Arrivals(receiver, stream.room, stream.sender, 0), due)
        self.counts["received"] += whole
        if strange:
            self._arrivals[stream.room, stream.sender] = strange

    def _count_arrivals(self, stream: Stream, came: Arrivals, due: int) -> None:
        received, astray = _count_received(stream, came)
        self.counts.update(received=received, astray=astray, duplicated=came.duplicated, disordered=came.disordered)
        missing, holes = due - received, set(came.holes)
        unacked = {seq for seq in stream.unacked if seq > came.highest or seq in holes}
        self.counts["due"] -= len(unacked)
        missing -= len(unacked)
        if not self._all_attend and came.receiver not in self._attending:
            # What is behind the last one that came may wait at the server; what is before it was left out.
            excused = unacked.union(stream.refused)
            left_out = sum(seq not in excused and seq <= stream.sent for seq in came.holes)
            self.counts["unfetched"] += missing - left_out
            missing = left_out
        self._missing[came.receiver, stream.room] += missing


def _count_received(stream: Stream, came: Arrivals) -> tuple[int, int]:
    """How many came that were due, and how many that were refused or never sent."""
    whole = came.highest - len(came.holes)
    if not stream.refused and came.highest <= stream.sent:
        return whole, 0
    holes = set(came.holes)
    unsent = sum(seq not in holes for seq in range(stream.sent + 1, came.highest + 1))
    refused = sum(seq <= came.highest and seq not in holes for seq in stream.refused)
    return whole - unsent - refused, unsent + refused
