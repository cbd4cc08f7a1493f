"""The account of a run: the reports of all workers as one."""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from loadtest.crowd.crowd import Room
from loadtest.ledger.deliveries import Deliveries, Fault, settle_deliveries
from loadtest.ledger.histogram import Histogram, merge
from loadtest.ledger.pages import Buckets, EndpointPage, ReportPage, StagePage, read_page
from loadtest.ledger.tally import add_tally
from loadtest.report.result import Endpoint, Latencies, Latency, Messages


class StageSettled(Struct, frozen=True, kw_only=True):
    """One stage. `sent`, `acked`, `refused`, `received`: of messages due in it; `*_within`: of its own time."""

    index: int
    sent: int
    acked: int
    refused: int
    received: int
    acked_within: int
    received_within: int
    requests_within: int
    pages: tuple[StagePage, ...]

    @property
    def latencies(self) -> Latencies:
        """The stage's latencies."""
        return _latencies(self.pages)


class Settled(Struct, frozen=True, kw_only=True):
    """Everything that all workers booked. `stages` by index of the plan."""

    messages: Messages
    stages: dict[int, StageSettled]
    connects: int
    reconnects: int
    failed: int
    """Attempts to connect that ended before Welcome; `connect_faults` says why."""
    requests: int
    request_failures: int
    unanswered: int
    """Requests that were due, and neither answered nor given up when the run ended."""
    close_codes: dict[str, int]
    connect_faults: dict[str, int]
    refusals: dict[str, int]
    gaps: dict[str, int]
    faults: tuple[Fault, ...]
    """The first streams that did not come as they were sent."""
    earlier: int
    """Messages of an earlier run that were still waiting for their receivers."""

    def latencies_of(self, stages: Iterable[int]) -> Latencies:
        """Return the latencies of several stages together, as exact as those of one."""
        return _latencies(self._pages_of(stages))

    def endpoints_of(self, stages: Iterable[int]) -> list[Endpoint]:
        """Return the operations of the API in several stages together, by name."""
        found: dict[str, list[EndpointPage]] = {}
        for page in self._pages_of(stages):
            for endpoint in page.endpoints:
                found.setdefault(endpoint.name, []).append(endpoint)
        return [_endpoint(name, pages) for name, pages in sorted(found.items())]

    def _pages_of(self, stages: Iterable[int]) -> list[StagePage]:
        return [page for index in stages if index in self.stages for page in self.stages[index].pages]


def settle(reports: Sequence[bytes], crowd_rooms: Sequence[Room]) -> Settled:
    """Put the reports of all workers side by side. Raises LedgerError for what is no report or of another crowd."""
    pages = [read_page(report, ReportPage) for report in reports]
    deliveries = settle_deliveries(pages, crowd_rooms)
    counts = _add(page.counts for page in pages)
    return Settled(
        messages=_messages(pages, deliveries, counts),
        stages=_stages(pages),
        connects=counts.get("connects", 0),
        reconnects=counts.get("reconnects", 0),
        failed=counts.get("failed", 0),
        requests=counts.get("requests", 0),
        request_failures=counts.get("failures", 0),
        unanswered=counts.get("unanswered", 0),
        close_codes=_add(page.close_codes for page in pages),
        connect_faults=_add(page.connect_faults for page in pages),
        refusals=_add(page.refusals for page in pages),
        gaps=_add(page.gaps for page in pages),
        faults=tuple(deliveries.faults),
        earlier=counts.get("earlier", 0),
    )


def _add(tallies: Iterable[dict[str, int]]) -> dict[str, int]:
    whole: dict[str, int] = {}
    for tally in tallies:
        add_tally(whole, tally)
    return whole


def _messages(pages: Sequence[ReportPage], deliveries: Deliveries, counts: dict[str, int]) -> Messages:
    streams = [stream for page in pages for stream in page.streams]
    sent = sum(stream.sent for stream in streams)
    refused = sum(len(stream.refused) for stream in streams)
    unacked = sum(len(stream.unacked) for stream in streams)
    return Messages(
        sent=sent,
        acked=sent - refused - unacked,
        refused=refused,
        unacked=unacked,
        due=deliveries.due,
        received=deliveries.received,
        lost=deliveries.lost,
        duplicated=deliveries.duplicated,
        disordered=deliveries.disordered,
        undecryptable=counts.get("undecryptable", 0),
        after_gap=deliveries.after_gap,
        resent=counts.get("resent", 0),
        unfetched=deliveries.unfetched,
        astray=deliveries.astray + counts.get("astray", 0),
    )


def _stages(pages: Sequence[ReportPage]) -> dict[int, StageSettled]:
    found: dict[int, list[StagePage]] = {}
    for page in pages:
        for stage in page.stages:
            found.setdefault(stage.index, []).append(stage)
    return {index: _stage(index, tuple(found[index])) for index in sorted(found)}


def _stage(index: int, pages: tuple[StagePage, ...]) -> StageSettled:
    return StageSettled(
        index=index,
        sent=sum(page.sent for page in pages),
        acked=sum(page.acked for page in pages),
        refused=sum(page.refused for page in pages),
        received=sum(page.received for page in pages),
        acked_within=sum(page.acked_within for page in pages),
        received_within=sum(page.received_within for page in pages),
        requests_within=sum(page.requests_within for page in pages),
        pages=pages,
    )


def _latencies(pages: Sequence[StagePage]) -> Latencies:
    def of(name: str) -> Latency:
        return _latency(pages, lambda page: (page.histograms.get(name, {}),))

    return Latencies(
        send_to_ack=of("ack"),
        send_to_receive=of("receive"),
        raw_send_to_ack=of("raw_ack"),
        raw_send_to_receive=of("raw_receive"),
        connect=of("connect"),
        backlog=of("backlog"),
        request=_latency(pages, lambda page: (endpoint.corrected for endpoint in page.endpoints)),
        raw_request=_latency(pages, lambda page: (endpoint.raw for endpoint in page.endpoints)),
    )


def _latency(pages: Iterable[StagePage], buckets_of: Callable[[StagePage], Iterable[Buckets]]) -> Latency:
    return merge(Histogram(buckets) for page in pages for buckets in buckets_of(page)).latency()


def _endpoint(name: str, pages: Sequence[EndpointPage]) -> Endpoint:
    corrected = merge(Histogram(page.corrected) for page in pages)
    failures = _add(page.failures for page in pages)
    return Endpoint(name=name, requests=corrected.count, latency_ms=corrected.latency(), failures=failures)
