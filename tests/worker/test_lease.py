"""A job is done by one worker at a time: by another when that one dies, loses its lease or ends."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from domain.jobs.ports import WorkerId
from domain.ports import Stores
from settings.worker import WorkerSettings
from simulation.stores import open_memory_stores
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from tests.ids import id_of
from worker.lease import RENEWALS, Lease
from worker.metrics import WorkerMetrics

SETTINGS = WorkerSettings(lease=30)
ALICE, BOB = WorkerId(id_of(1)), WorkerId(id_of(2))


class Diary:
    """Who works, and that nobody does it at the same time as another."""

    def __init__(self) -> None:
        self.at_work: WorkerId | None = None
        self.begun: list[WorkerId] = []

    async def work(self, worker: WorkerId) -> None:
        """Work until somebody stops it."""
        with self._alone(worker):
            await trio.sleep_forever()

    @contextmanager
    def _alone(self, worker: WorkerId) -> Iterator[None]:
        assert self.at_work is None
        self.at_work = worker
        self.begun.append(worker)
        try:
            yield
        finally:
            self.at_work = None


class Fleet:
    """Two workers over one memory, each with an interference of its own."""

    def __init__(self, nursery: trio.Nursery, work: Callable[[WorkerId], Awaitable[object]]) -> None:
        self.memory = Memory()
        self.work = work
        self.interference = {worker: Interference() for worker in (ALICE, BOB)}
        self.metrics = {worker: WorkerMetrics() for worker in (ALICE, BOB)}
        self.scopes: dict[WorkerId, trio.CancelScope] = {}
        self._nursery = nursery

    def stores(self, worker: WorkerId) -> Stores:
        """What this worker sees."""
        return open_memory_stores(memory=self.memory, interference=self.interference[worker])

    async def start(self, worker: WorkerId) -> None:
        """Start a worker and wait until it does or waits for what it can."""
        self._nursery.start_soon(self._run, worker)
        await wait_all_tasks_blocked()

    async def _run(self, worker: WorkerId) -> None:
        with trio.CancelScope() as self.scopes[worker]:
            lease = Lease(self.stores(worker).leases, "job", worker, SETTINGS, self.metrics[worker])
            await lease.run(partial(self.work, worker))


async def test_one_works_and_the_other_waits(mock_clock: MockClock) -> None:
    """For as long as the first one lives and says so."""
    diary = Diary()
    async with trio.open_nursery() as nursery:
        fleet = Fleet(nursery, diary.work)
        await fleet.start(ALICE)
        await fleet.start(BOB)
        for _ in range(20):
            mock_clock.jump(SETTINGS.lease / 2)
            await wait_all_tasks_blocked()
        assert diary.begun == [ALICE]
        nursery.cancel_scope.cancel()


async def test_at_an_orderly_end_the_job_is_free_at_once(mock_clock: MockClock) -> None:
    """The lease is given back, so the other has it the next time it asks, long before it would have ended."""
    diary = Diary()
    async with trio.open_nursery() as nursery:
        fleet = Fleet(nursery, diary.work)
        await fleet.start(ALICE)
        fleet.scopes[ALICE].cancel()
        await wait_all_tasks_blocked()
        assert fleet.memory.leases == {}
        await fleet.start(BOB)
        assert diary.begun == [ALICE, BOB]
        assert mock_clock.current_time() == 0
        nursery.cancel_scope.cancel()


async def test_a_worker_that_cannot_renew_stops_before_another_begins(autojump_clock: MockClock) -> None:
    """It counts the time itself: when the store is silent for it alone, its work is cancelled with the lease's end."""
    diary = Diary()
    async with trio.open_nursery() as nursery:
        fleet = Fleet(nursery, diary.work)
        await fleet.start(ALICE)
        await fleet.start(BOB)
        fleet.interference[ALICE].unavailable = True
        await trio.sleep(SETTINGS.lease * 4 / 3 + 1)  # of the mocked clock
        assert diary.begun == [ALICE, BOB]
        assert diary.at_work == BOB
        nursery.cancel_scope.cancel()


async def test_silence_of_the_store_stops_the_work_too(autojump_clock: MockClock) -> None:
    """An answer that never comes is no renewal, and it does not keep the worker from asking again later."""
    diary = Diary()
    async with trio.open_nursery() as nursery:
        fleet = Fleet(nursery, diary.work)
        await fleet.start(ALICE)
        fleet.interference[ALICE].silent = True
        await trio.sleep(SETTINGS.lease + SETTINGS.release + 1)  # of the mocked clock
        assert diary.at_work is None
        nursery.cancel_scope.cancel()


async def test_a_short_outage_does_not_stop_the_work(autojump_clock: MockClock) -> None:
    """One renewal may fail."""
    diary = Diary()
    async with trio.open_nursery() as nursery:
        fleet = Fleet(nursery, diary.work)
        await fleet.start(ALICE)
        with fleet.interference[ALICE].outage():
            await trio.sleep(SETTINGS.lease / 2)  # of the mocked clock
        await trio.sleep(3 * SETTINGS.lease)  # of the mocked clock
        assert diary.begun == [ALICE]
        assert diary.at_work == ALICE
        nursery.cancel_scope.cancel()


async def test_a_worker_that_was_frozen_stops_when_it_hears_of_the_other(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A lease that became somebody else's ends the work with the next renewal, and the log says so."""
    diary = Diary()
    async with trio.open_nursery() as nursery:
        fleet = Fleet(nursery, diary.work)
        await fleet.start(ALICE)
        fleet.memory.leases["job"] = BOB, trio.current_time() + 10 * SETTINGS.lease
        await trio.sleep(SETTINGS.lease / 2)  # of the mocked clock
        assert diary.at_work is None
        assert fleet.memory.leases["job"][0] == BOB
        nursery.cancel_scope.cancel()
    assert "this worker has lost the lease of the job job" in caplog.messages


async def test_a_surprise_gives_the_job_to_another(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """The worker lives on and tries again later; the log has the place, never the text."""
    tried: list[WorkerId] = []

    async def fail(worker: WorkerId) -> None:
        tried.append(worker)
        await trio.lowlevel.checkpoint()
        raise KeyError("somebody")

    async with trio.open_nursery() as nursery:
        fleet = Fleet(nursery, fail)
        await fleet.start(ALICE)
        await fleet.start(BOB)
        await trio.sleep(SETTINGS.lease)
        assert set(tried) == {ALICE, BOB}
        nursery.cancel_scope.cancel()
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors[0].startswith("the job job ended with a surprise: KeyError at test_lease.py:")
    assert "somebody" not in caplog.text


async def test_work_that_ends_gives_the_job_back_and_is_begun_again(autojump_clock: MockClock) -> None:
    """A job that had nothing more to do is not lost, and not begun again at once."""
    begun: list[float] = []

    async def finish(worker: WorkerId) -> None:
        begun.append(trio.current_time())
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        fleet = Fleet(nursery, finish)
        await fleet.start(ALICE)
        assert fleet.memory.leases == {}
        await trio.sleep(SETTINGS.lease - 1)  # of the mocked clock
        assert len(begun) == RENEWALS
        nursery.cancel_scope.cancel()
