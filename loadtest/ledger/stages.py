"""What was measured, stage by stage. A latency belongs to the stage in which its message was due."""

from bisect import bisect_right
from typing import Final

from loadtest.ledger.histogram import Histogram
from loadtest.ledger.pages import EndpointPage, StagePage
from loadtest.ledger.tally import count_word

_ALWAYS: Final = -(1 << 62)


class EndpointRecord:
    """One operation of the API within one stage."""

    def __init__(self) -> None:
        self.corrected = Histogram()
        self.raw = Histogram()
        self.failures: dict[str, int] = {}


class StageRecord:
    """One stage in the book of one worker."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.sent = self.acked = self.refused = self.received = 0
        self.acked_within = self.received_within = self.requests_within = 0
        self.ack, self.raw_ack = Histogram(), Histogram()
        self.receive, self.raw_receive = Histogram(), Histogram()
        self.connect, self.backlog = Histogram(), Histogram()
        self.endpoints: dict[str, EndpointRecord] = {}

    def request(self, name: str, corrected_ns: int, raw_ns: int, failure: str | None) -> None:
        """Record a request that was due in this stage."""
        record = self.endpoints.get(name)
        if record is None:
            record = self.endpoints[name] = EndpointRecord()
        record.corrected.record(corrected_ns)
        record.raw.record(raw_ns)
        if failure is not None:
            count_word(record.failures, failure)

    def page(self) -> StagePage:
        """Return the stage as it is sent to the conductor."""
        return StagePage(
            index=self.index,
            sent=self.sent,
            acked=self.acked,
            refused=self.refused,
            received=self.received,
            acked_within=self.acked_within,
            received_within=self.received_within,
            requests_within=self.requests_within,
            histograms={name: getattr(self, name).buckets for name in HISTOGRAMS},
            endpoints=tuple(
                EndpointPage(name, record.corrected.buckets, record.raw.buckets, record.failures)
                for name, record in self.endpoints.items()
            ),
        )


HISTOGRAMS: Final = ("ack", "raw_ack", "receive", "raw_receive", "connect", "backlog")


class Stages:
    """The stages so far, in the order of their beginnings. Before any is opened, everything belongs to stage 0."""

    def __init__(self) -> None:
        self._begun = [_ALWAYS]
        self._records = [StageRecord(0)]
        self._last = (_ALWAYS, self._records[0])

    def open_stage(self, index: int, began_ns: int) -> None:
        """Begin a stage. What was booked before it was announced, and is due in it, stays where it was booked."""
        known = next((record for record in self._records if record.index == index), None)
        if known is None:
            self._begun.append(began_ns)
            self._records.append(StageRecord(index))
        else:
            self._begun[self._records.index(known)] = began_ns if index else _ALWAYS
        ordered = sorted(zip(self._begun, self._records, strict=True), key=lambda pair: pair[0])
        self._begun, self._records = [began for began, _ in ordered], [record for _, record in ordered]
        self._last = ordered[-1]

    def at(self, ns: int) -> StageRecord:
        """Return the stage of a time."""
        began_ns, record = self._last
        return record if ns >= began_ns else self._records[max(0, bisect_right(self._begun, ns) - 1)]

    def pages(self) -> tuple[StagePage, ...]:
        """Return all stages."""
        return tuple(record.page() for record in self._records)
