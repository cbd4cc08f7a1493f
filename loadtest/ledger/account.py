"""The account of a run: the reports of all workers as one, the senders' beside the receivers'."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from msgspec.structs import asdict

from loadtest.crowd.crowd import Room
from loadtest.ledger.reports import Arrivals, LedgerError, Report, Stream, Totals, read
from loadtest.report.result import Messages


class Account(Totals, kw_only=True):
    """Everything that all workers recorded, and what became of each message."""

    messages: Messages
    lost_acked: int  # of the deliveries that are missing, those of messages that the server had acked


def reconcile(written: Sequence[bytes], rooms: Sequence[Room]) -> Account:
    """Put the reports of all workers side by side. Raises LedgerError for what is no report or of another crowd."""
    reports, totals = [read(each, Report) for each in written], Totals()
    for report in reports:
        totals.merge(report.totals)
    totals.stages = dict(sorted(totals.stages.items()))
    counts = _Deliveries(reports, rooms).counts
    counts["astray"] += totals.astray
    counts["acked"] = counts["sent"] - counts["refused"] - counts["unacked"]
    lost_acked = counts.pop("lost_acked", 0)
    messages = Messages(undecryptable=totals.undecryptable, resent=totals.resent, **counts)
    return Account(messages=messages, lost_acked=lost_acked, **asdict(totals))


class _Deliveries:
    """What became of every delivery that was due: `due == received + after_gap + unfetched + lost`, always."""

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
        unacked = sum(seq > came.highest or seq in holes for seq in stream.unacked)
        self.counts["lost_acked"] += missing - unacked
        if not self._all_attend and came.receiver not in self._attending:
            # What is behind the last one that came may wait at the server; what is before it was left out.
            refused = set(stream.refused)
            left_out = sum(seq not in refused and seq <= stream.sent for seq in came.holes)
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
