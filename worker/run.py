"""The life of a worker, in one function."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

import trio

from domain.jobs.ports import WorkerId
from domain.ports import Clock, Stores
from settings.worker import WorkerSettings
from worker.lease import Lease
from worker.metrics import WorkerMetrics
from worker.retention import run_retention


class Job(NamedTuple):
    """Something that one worker does for as long as it can. `name` is its row in the table of leases."""

    name: str
    run: Callable[[WorkerSettings, Stores, Clock], Awaitable[object]]


JOBS: Final = (Job("retention", run_retention),)
"""Every job that needs nothing but the stores; `worker.__main__` adds the one that needs the key of the log."""


async def run_worker(
    settings: WorkerSettings,
    stores: Stores,
    clock: Clock,
    worker: WorkerId,
    stop: trio.Event,
    jobs: tuple[Job, ...] = JOBS,
    metrics: WorkerMetrics | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until `stop` is set, then give the leases back. Started with the worker's id, as the table of leases has it.

    ::

        run_worker
        └─ stores        the caller's: they die last
           └─ job x N    one task each: it waits for its lease, works while it has it, and gives it back

    An outage of the store stops the jobs when their leases have passed, and does not stop the worker.
    """
    metrics = metrics or WorkerMetrics()
    async with trio.open_nursery() as nursery:
        for job in jobs:
            lease = Lease(stores.leases, job.name, worker, settings, metrics)
            nursery.start_soon(lease.run, partial(job.run, settings, stores, clock))
        # Ready with or without a lease: of several workers most have none.
        task_status.started(str(worker))
        await stop.wait()
        nursery.cancel_scope.cancel()
