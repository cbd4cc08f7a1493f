"""A worker's lease of one job: taken, renewed while the job runs, and given back."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NoReturn

import trio

from domain.jobs.ports import LeaseStore, WorkerId
from domain.ports import StoreUnavailable
from observability.surprises import note_surprise
from settings.worker import WorkerSettings
from worker.metrics import WorkerMetrics

RENEWALS: Final = 3
"""In the time of a lease, so that one may fail or be late."""

_log: Final = logging.getLogger("varde.worker")


class Lease:
    """The lease of one job for one worker. It may be taken again when it was lost."""

    def __init__(
        self, store: LeaseStore, job: str, worker: WorkerId, settings: WorkerSettings, metrics: WorkerMetrics
    ) -> None:
        metrics.held[job] = 0
        self._metrics = metrics
        self._store = store
        self._job = job
        self._worker = worker
        self._settings = settings

    async def run(self, work: Callable[[], Awaitable[object]]) -> NoReturn:
        """Work whenever the lease is ours, and only as long as it is."""
        while True:
            until = None
            # Nobody can say whose the job is, so it is not ours.
            with suppress(StoreUnavailable):
                until = await self._take()
            if until is not None:
                await self._hold(work, until)
            # Also after work that failed: it is not tried in a tight loop, and another worker may have it meanwhile.
            await trio.sleep(self._settings.lease / RENEWALS)

    async def _take(self) -> float | None:
        """Take or renew; return until when the job is ours by Trio's clock, or None while it is somebody else's."""
        asked = trio.current_time()  # not the time of the answer: late answers make our lease shorter, never longer
        mine = await self._store.take(self._job, self._worker, round(self._settings.lease * 1_000))
        return asked + self._settings.lease if mine else None

    async def _hold(self, work: Callable[[], Awaitable[object]], until: float) -> None:
        self._metrics.held[self._job] = 1
        _log.info("this worker does the job %s", self._job)
        scope = trio.CancelScope(deadline=until)
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._renew, scope)
                    await work()
                    nursery.cancel_scope.cancel()
        except Exception as surprise:  # noqa: BLE001 - the fence: what is wrong with one job does not stop the others
            self._metrics.failures[self._job] += 1
            note_surprise(_log, f"the job {self._job} ended with a surprise", surprise)
        finally:
            self._metrics.held[self._job] = 0
            # Also when the lease was lost: only a row that has this worker's id is deleted.
            await self._release()
        if scope.cancelled_caught:
            self._metrics.lost_leases[self._job] += 1
            _log.warning("this worker has lost the lease of the job %s", self._job)

    async def _renew(self, scope: trio.CancelScope) -> None:
        """Move the deadline of the work on, and cancel it when the lease has become somebody else's."""
        while True:
            await trio.sleep(self._settings.lease / RENEWALS)
            with suppress(StoreUnavailable):  # the deadline stands; there is time to try again before it
                until = await self._take()
                if until is None:
                    scope.cancel()
                else:
                    scope.deadline = until

    async def _release(self) -> None:
        # A lease that cannot be given back ends by itself. Others only have the job that much later.
        with trio.move_on_after(self._settings.release, shield=True), suppress(StoreUnavailable):
            await self._store.release(self._job, self._worker)
