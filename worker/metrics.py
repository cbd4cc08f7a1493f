"""What a worker counts, how the transparency log stands, and the page of both that Prometheus reads."""

from collections import Counter
from functools import partial
from typing import Final, NamedTuple, TypeAlias

import trio

from domain.ports import Clock, Stores, StoreUnavailable
from domain.transparency.ports import LogStore
from observability import definition
from observability.definition import Kind, Page, Value, make_page, render_metric
from observability.histogram import SECONDS, Histogram
from observability.loop_lateness import run_loop_lateness
from observability.process import PROCESS, VERSION
from observability.serving import MakeContext, start_metrics
from varde_contract.limits import SECOND_MS


class WorkerMetrics:
    """Counted where it happens, by the names of jobs."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        """1 while this worker has the lease."""
        self.failures: Counter[str] = Counter()
        self.lost_leases: Counter[str] = Counter()
        self.lateness = Histogram(SECONDS)


class LogState(NamedTuple):
    """How the transparency log stands. Ages are seconds; None for a head that is not there."""

    entries: int | None
    pending: int
    checkpoint_age: float | None
    cosigned_age: float | None


class Source(NamedTuple):
    """What the metrics are read from. `log` is None when the store did not answer."""

    metrics: WorkerMetrics
    log: LogState | None


Definition: TypeAlias = definition.Definition[[Source]]


def _of_log(field: str) -> "partial[Value | None]":
    def read(field: str, source: Source) -> Value | None:
        value: float | None = getattr(source.log, field, None)
        return value

    return partial(read, field)


JOBS: Final[tuple[Definition, ...]] = (
    Definition(
        "varde_worker_job_held",
        Kind.GAUGE,
        "name",
        "1 while this worker does the job. Each job is done by one worker at a time.",
        "Summed over all workers it must be 1 for each job. 0: the job waits; look at the log and at the database.",
        lambda source: dict(source.metrics.held),
    ),
    Definition(
        "varde_worker_job_failures_total",
        Kind.COUNTER,
        "name",
        "Times that the job ended with an error which nobody expected. It is begun again after a pause.",
        "Must stay 0. The log has the place in the code.",
        lambda source: {job: source.metrics.failures[job] for job in source.metrics.held},
    ),
    Definition(
        "varde_worker_lost_leases_total",
        Kind.COUNTER,
        "name",
        "Times that another worker took the job while this one did it.",
        "After an outage of the database: normal. Otherwise this worker is too slow or its machine stalls.",
        lambda source: {job: source.metrics.lost_leases[job] for job in source.metrics.held},
    ),
    Definition(
        "varde_worker_database_up",
        Kind.GAUGE,
        None,
        "1 when the database answered as the page was asked for.",
        "0: no job is done until it is back. The worker needs no help.",
        lambda source: float(source.log is not None),
    ),
    Definition(
        "varde_worker_loop_lateness_seconds",
        Kind.HISTOGRAM,
        None,
        "How late an idle task woke, measured ten times a second.",
        "Above 1 s the lease of a job may be lost.",
        lambda source: source.metrics.lateness,
    ),
    Definition(
        "varde_worker_build_info",
        Kind.GAUGE,
        "version",
        "1, with the version that runs.",
        "To see a roll-out.",
        lambda _: {VERSION: 1.0},
    ),
)
LOG: Final[tuple[Definition, ...]] = (
    Definition(
        "varde_log_entries",
        Kind.GAUGE,
        None,
        "Entries in the newest checkpoint.",
        "For sizing: 1,000,000 are 30 MiB of tiles.",
        _of_log("entries"),
    ),
    Definition(
        "varde_log_pending_entries",
        Kind.GAUGE,
        None,
        "Device lists that are not in the log yet.",
        "Near 0 is normal. A worker takes 10,000 a second.",
        _of_log("pending"),
    ),
    Definition(
        "varde_log_checkpoint_age_seconds",
        Kind.GAUGE,
        None,
        "Since the newest checkpoint was signed.",
        "Above 60: no worker signs. In a minute, clients send nothing to new devices.",
        _of_log("checkpoint_age"),
    ),
    Definition(
        "varde_log_cosigned_age_seconds",
        Kind.GAUGE,
        None,
        "Since the newest checkpoint that enough witnesses have cosigned was signed. Missing without witnesses.",
        "Above a quarter of an hour: the worker's log names the witnesses that do not answer.",
        _of_log("cosigned_age"),
    ),
)
DEFINITIONS: Final[tuple[Definition, ...]] = (*JOBS, *LOG, *PROCESS)


async def start_worker_metrics(
    bind: tuple[str, int] | None,
    metrics: WorkerMetrics,
    stores: Stores,
    clock: Clock,
    nursery: trio.Nursery,
    tls: MakeContext | None = None,
) -> str | None:
    """Serve the page if `bind` says where, and return the address. Raises OSError when it cannot be had."""
    nursery.start_soon(run_loop_lateness, metrics.lateness.observe)
    if bind is None:
        return None

    async def ready() -> tuple[str, ...]:
        try:
            return () if await stores.schema.fits() else ("schema",)
        except StoreUnavailable:
            return ("database",)

    page = partial(render_page, metrics, stores.transparency, clock)
    return await start_metrics(bind, page, ready, nursery, tls=tls)


async def render_page(metrics: WorkerMetrics, store: LogStore, clock: Clock, *, openmetrics: bool) -> Page:
    """Return all metrics as they are now, the database asked."""
    source = Source(metrics, await _look(store, clock))
    read = ((each, each.read(source)) for each in DEFINITIONS)
    parts = [render_metric(each, value, openmetrics=openmetrics) for each, value in read if value is not None]
    return make_page(parts, openmetrics=openmetrics)


async def _look(store: LogStore, clock: Clock) -> LogState | None:
    try:
        backlog, head, cosigned = await store.backlog(), await store.head(), await store.head(cosigned=True)
    # The page comes without these: one that failed would look as if the worker were gone.
    except StoreUnavailable:
        return None
    ages = [None if each is None else (clock() - each.signed_ms) / SECOND_MS for each in (head, cosigned)]
    return LogState(None if head is None else head.size, backlog.pending, *ages)
