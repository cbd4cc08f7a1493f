"""What became of every delivery that was due, from the pages of all workers: the sender's beside the receivers'."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

from msgspec import Struct

from loadtest.crowd.crowd import Room
from loadtest.ledger.pages import ArrivalPage, LedgerError, ReportPage, StreamPage

_MOST_FAULTS: Final = 20


class Fault(Struct, frozen=True):
    """A receiver to whom a stream did not come as it was sent, by numbers of the crowd."""

    receiver: int
    room: int
    sender: int
    lost: int
    duplicated: int
    disordered: int


class Deliveries(Struct):
    """`due == received + after_gap + unfetched + lost`, always."""

    due: int = 0
    received: int = 0
    lost: int = 0
    unfetched: int = 0
    after_gap: int = 0
    duplicated: int = 0
    disordered: int = 0
    astray: int = 0
    faults: list[Fault] = []
    """The first twenty, before gaps are taken into account."""


def settle_deliveries(pages: Sequence[ReportPage], rooms: Sequence[Room]) -> Deliveries:
    """Account for every delivery. Raises LedgerError when somebody wrote to a room that the crowd does not have."""
    return _Settling(pages, rooms).settle()


class _Settling:
    def __init__(self, pages: Sequence[ReportPage], rooms: Sequence[Room]) -> None:
        self._rooms = rooms
        self._arrivals: dict[tuple[int, int], list[ArrivalPage]] = {}
        for report in pages:
            for page in report.arrivals:
                self._arrivals.setdefault((page.room, page.sender), []).append(page)
        self._streams = [stream for report in pages for stream in report.streams]
        self._attending = {receiver for report in pages for receiver in report.attending}
        # Where nobody was said to be there, nobody can be said to have been away.
        self._all_attend = not self._attending and not any(report.absent for report in pages)
        self._excused = _excuses(pages)
        self._missing: dict[tuple[int, int], int] = {}
        self._account = Deliveries(faults=[])

    def settle(self) -> Deliveries:
        for stream in self._streams:
            self._settle_stream(stream)
        self._settle_unsent()
        self._settle_missing()
        return self._account

    def _settle_stream(self, stream: StreamPage) -> None:
        if not 0 <= stream.room < len(self._rooms):
            raise LedgerError("a worker reports of a room that is not in the crowd: do all use the same file?")
        receivers = set(self._rooms[stream.room].members)
        receivers.discard(stream.sender)
        due = stream.sent - len(stream.refused)
        self._account.due += due * len(receivers)
        strange = []
        for arrival in self._arrivals.pop((stream.room, stream.sender), ()):
            if arrival.receiver not in receivers:
                strange.append(arrival)
                continue
            receivers.remove(arrival.receiver)
            if arrival.highest == due == stream.sent and not (
                arrival.holes or arrival.duplicated or arrival.disordered
            ):
                # As it should be; there may be millions of these.
                self._account.received += due
            else:
                self._settle_delivery(stream, arrival, due)
        for receiver in receivers:
            self._settle_delivery(stream, ArrivalPage(receiver, stream.room, stream.sender, 0), due)
        if strange:
            self._arrivals[stream.room, stream.sender] = strange

    def _settle_delivery(self, stream: StreamPage, arrival: ArrivalPage, due: int) -> None:
        account = self._account
        received, astray = _count_received(stream, arrival)
        account.received += received
        account.astray += astray
        account.duplicated += arrival.duplicated
        account.disordered += arrival.disordered
        self._miss(stream, arrival, due - received)

    def _miss(self, stream: StreamPage, arrival: ArrivalPage, missing: int) -> None:
        if not self._all_attend and arrival.receiver not in self._attending:
            # What is behind the last one that came may wait at the server; what is before it was left out.
            refused = set(stream.refused)
            left_out = sum(seq not in refused and seq <= stream.sent for seq in arrival.holes)
            self._account.unfetched += missing - left_out
            missing = left_out
        if missing:
            place = arrival.receiver, stream.room
            self._missing[place] = self._missing.get(place, 0) + missing
        self._note(arrival, missing)

    def _note(self, arrival: ArrivalPage, missing: int) -> None:
        faults = self._account.faults
        if (missing or arrival.duplicated or arrival.disordered) and len(faults) < _MOST_FAULTS:
            who = arrival.receiver, arrival.room, arrival.sender
            faults.append(Fault(*who, missing, arrival.duplicated, arrival.disordered))

    def _settle_unsent(self) -> None:
        """What is left came to somebody outside the room, or from a stream that nobody reports."""
        for arrival in chain.from_iterable(self._arrivals.values()):
            self._account.astray += arrival.highest - len(arrival.holes)
            self._account.duplicated += arrival.duplicated
            self._account.disordered += arrival.disordered

    def _settle_missing(self) -> None:
        for place, missing in self._missing.items():
            after_gap = min(missing, self._excused.get(place, 0))
            self._account.after_gap += after_gap
            self._account.lost += missing - after_gap


def _excuses(pages: Sequence[ReportPage]) -> Mapping[tuple[int, int], int]:
    return {(receiver, room): count for report in pages for receiver, room, count in report.excused}


def _count_received(stream: StreamPage, arrival: ArrivalPage) -> tuple[int, int]:
    """How many came that were due, and how many that were refused or never sent."""
    came = arrival.highest - len(arrival.holes)
    if not stream.refused and arrival.highest <= stream.sent:
        return came, 0
    holes = set(arrival.holes)
    unsent = sum(seq not in holes for seq in range(stream.sent + 1, arrival.highest + 1))
    refused = sum(seq <= arrival.highest and seq not in holes for seq in stream.refused)
    return came - unsent - refused, unsent + refused
