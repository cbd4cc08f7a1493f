"""The account of a run: the reports of all workers as one, the senders' beside the receivers'."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct, field

from loadtest.crowd.crowd import Room
from loadtest.ledger.histogram import merge
from loadtest.ledger.reports import Arrivals, LedgerError, Report, StageSums, Stream, merge_counts, read
from loadtest.report.result import Endpoint, Latencies, Messages

_NUMBERS: Final = ("connects", "reconnects", "failed", "requests", "failures", "unanswered", "earlier")


class Account(Struct, kw_only=True):
    """Everything that all workers recorded. `stages` by index of the plan."""

    messages: Messages
    stages: dict[int, StageSums]
    lost_acked: int  # of the deliveries that are missing, those of messages that the server had acked
    close_codes: dict[str, int] = field(default_factory=dict)
    connect_faults: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)
    connects: int = 0
    reconnects: int = 0
    failed: int = 0  # attempts to connect that ended before Welcome; `connect_faults` says why
    requests: int = 0
    failures: int = 0  # of the requests
    unanswered: int = 0  # requests that were due, and neither answered nor given up when the run ended
    earlier: int = 0  # messages of an earlier run that were still waiting for their receivers

    def latencies_of(self, stages: Iterable[int]) -> Latencies:
        """Return the latencies of several stages together, as exact as those of one."""
        whole = self._sum(stages)
        return Latencies(
            send_to_ack=whole.ack.latency(),
            send_to_receive=whole.receive.latency(),
            raw_send_to_ack=whole.raw_ack.latency(),
            raw_send_to_receive=whole.raw_receive.latency(),
            connect=whole.connect.latency(),
            backlog=whole.backlog.latency(),
            request=merge(each.corrected for each in whole.operations.values()).latency(),
            raw_request=merge(each.raw for each in whole.operations.values()).latency(),
        )

    def endpoints_of(self, stages: Iterable[int]) -> list[Endpoint]:
        """Return the operations of the API in several stages together, by name."""
        return [
            Endpoint(name=name, requests=(it := each.corrected).count, latency_ms=it.latency(), failures=each.failures)
            for name, each in sorted(self._sum(stages).operations.items())
        ]

    def _sum(self, stages: Iterable[int]) -> StageSums:
        whole = StageSums()
        for index in stages:
            if index in self.stages:
                whole.merge(self.stages[index])
        return whole


def reconcile(written: Sequence[bytes], rooms: Sequence[Room]) -> Account:
    """Put the reports of all workers side by side. Raises LedgerError for what is no report or of another crowd."""
    reports = [read(each, Report) for each in written]
    deliveries = _Deliveries(reports, rooms)
    deliveries.count()
    counts, stages = dict[str, int](), dict[int, StageSums]()
    tables: dict[str, Any] = {name: {} for name in ("close_codes", "connect_faults", "refusals", "gaps")}
    for report in reports:
        merge_counts(counts, report.counts)
        for index, sums in report.stages.items():
            stages.setdefault(index, StageSums()).merge(sums)
        for name, table in tables.items():
            merge_counts(table, getattr(report, name))
    numbers: dict[str, Any] = {name: counts.get(name, 0) for name in _NUMBERS}
    return Account(
        messages=_messages(reports, deliveries, counts),
        stages=dict(sorted(stages.items())),
        lost_acked=deliveries.lost_acked,
        **tables,
        **numbers,
    )


def _messages(reports: Sequence[Report], found: "_Deliveries", counts: dict[str, int]) -> Messages:
    streams = [stream for report in reports for stream in report.streams]
    sent = sum(stream.sent for stream in streams)
    refused = sum(len(stream.refused) for stream in streams)
    unacked = sum(len(stream.unacked) for stream in streams)
    named = ("due", "received", "lost", "duplicated", "disordered", "after_gap", "unfetched")
    deliveries: dict[str, Any] = {name: getattr(found, name) for name in named}
    return Messages(
        sent=sent,
        acked=sent - refused - unacked,
        refused=refused,
        unacked=unacked,
        undecryptable=counts.get("undecryptable", 0),
        resent=counts.get("resent", 0),
        astray=found.astray + counts.get("astray", 0),
        **deliveries,
    )


class _Deliveries:
    """What became of every delivery that was due: `due == received + after_gap + unfetched + lost`, always."""

    def __init__(self, reports: Sequence[Report], rooms: Sequence[Room]) -> None:
        self.due = self.received = self.lost = self.unfetched = self.after_gap = 0
        self.duplicated = self.disordered = self.astray = self.lost_acked = 0
        self._rooms = rooms
        self._arrivals: dict[tuple[int, int], list[Arrivals]] = {}
        for report in reports:
            for arrivals in report.arrivals:
                self._arrivals.setdefault((arrivals.room, arrivals.sender), []).append(arrivals)
        self._streams = [stream for report in reports for stream in report.streams]
        self._attending = {receiver for report in reports for receiver in report.attending}
        # Where nobody was said to be there, nobody can be said to have been away.
        self._all_attend = not self._attending and not any(report.absent for report in reports)
        self._excused = {(receiver, room): count for report in reports for receiver, room, count in report.excused}
        self._missing: dict[tuple[int, int], int] = {}

    def count(self) -> None:
        """Count all. Raises LedgerError when somebody wrote to a room that the crowd does not have."""
        for stream in self._streams:
            self._count_stream(stream)
        for strange in (each for arrivals in self._arrivals.values() for each in arrivals):
            # It came to somebody outside the room, or from a stream that nobody reports.
            self.astray += strange.highest - len(strange.holes)
            self.duplicated += strange.duplicated
            self.disordered += strange.disordered
        for place, missing in self._missing.items():
            after_gap = min(missing, self._excused.get(place, 0))
            self.after_gap += after_gap
            self.lost += missing - after_gap

    def _count_stream(self, stream: Stream) -> None:
        if not 0 <= stream.room < len(self._rooms):
            raise LedgerError("a worker reports of a room that is not in the crowd: do all use the same file?")
        receivers = set(self._rooms[stream.room].members) - {stream.sender}
        due = stream.sent - len(stream.refused)
        self.due += due * len(receivers)
        strange = []
        for each in self._arrivals.pop((stream.room, stream.sender), ()):
            if each.receiver not in receivers:
                strange.append(each)
                continue
            receivers.remove(each.receiver)
            if each.highest == due == stream.sent and not (each.holes or each.duplicated or each.disordered):
                self.received += due  # as it should be; there may be millions of these
            else:
                self._count_arrivals(stream, each, due)
        for receiver in receivers:
            self._count_arrivals(stream, Arrivals(receiver, stream.room, stream.sender, 0), due)
        if strange:
            self._arrivals[stream.room, stream.sender] = strange

    def _count_arrivals(self, stream: Stream, came: Arrivals, due: int) -> None:
        received, astray = _count_received(stream, came)
        self.received += received
        self.astray += astray
        self.duplicated += came.duplicated
        self.disordered += came.disordered
        self._count_missing(stream, came, due - received)

    def _count_missing(self, stream: Stream, came: Arrivals, missing: int) -> None:
        holes = set(came.holes)
        unacked = sum(seq > came.highest or seq in holes for seq in stream.unacked)
        self.lost_acked += missing - unacked
        if not self._all_attend and came.receiver not in self._attending:
            # What is behind the last one that came may wait at the server; what is before it was left out.
            refused = set(stream.refused)
            left_out = sum(seq not in refused and seq <= stream.sent for seq in came.holes)
            self.unfetched += missing - left_out
            missing = left_out
        if missing:
            place = came.receiver, stream.room
            self._missing[place] = self._missing.get(place, 0) + missing


def _count_received(stream: Stream, came: Arrivals) -> tuple[int, int]:
    """How many came that were due, and how many that were refused or never sent."""
    whole = came.highest - len(came.holes)
    if not stream.refused and came.highest <= stream.sent:
        return whole, 0
    holes = set(came.holes)
    unsent = sum(seq not in holes for seq in range(stream.sent + 1, came.highest + 1))
    refused = sum(seq <= came.highest and seq not in holes for seq in stream.refused)
    return whole - unsent - refused, unsent + refused
