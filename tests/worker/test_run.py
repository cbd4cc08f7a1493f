"""A worker's life: all jobs, each under its lease, until it is told to stop."""

from functools import partial

import trio
from trio.testing import wait_all_tasks_blocked

from domain.jobs.ports import WorkerId
from domain.ports import Clock, Stores
from settings.worker import WorkerSettings
from simulation.stores import open_memory_stores
from simulation.stores.clock import ManualClock
from simulation.stores.memory import Memory
from tests.ids import id_of
from worker.run import JOBS, Job, run_worker

WORKER = WorkerId(id_of(7))


async def test_every_job_runs_until_the_worker_stops() -> None:
    """It says its id when it begins; at the end no lease is left behind."""
    memory, stop, at_work = Memory(), trio.Event(), set[str]()

    async def work(name: str, settings: WorkerSettings, stores: Stores, clock: Clock) -> None:
        at_work.add(name)
        try:
            await trio.sleep_forever()
        finally:
            at_work.remove(name)

    jobs = tuple(Job(name, partial(work, name)) for name in ("one", "two"))
    stores = open_memory_stores(memory=memory)
    run = partial(run_worker, WorkerSettings(), stores, ManualClock(), WORKER, stop, jobs)
    async with trio.open_nursery() as nursery:
        assert await nursery.start(run) == str(WORKER)
        await wait_all_tasks_blocked()
        assert at_work == memory.leases.keys() == {"one", "two"}
        stop.set()
    assert at_work == set()
    assert memory.leases == {}


def test_the_names_of_jobs_are_their_own() -> None:
    """Two jobs of one name would wait for each other for ever."""
    names = [job.name for job in JOBS]
    assert len(set(names)) == len(names)
