"""A fleet: several relay nodes on one machine that listen on one address, each a process of its own."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import trio

from supervisor.data_lock import FolderInUse, open_lock
from supervisor.embedded_postgres import open_embedded
from supervisor.events import Report
from supervisor.ports import reserve_shared
from supervisor.process import Launcher, Start
from supervisor.programs import Programs
from supervisor.reaper import open_reaper
from supervisor.settings import SystemSettings
from supervisor.supervised import StartFailed, SupervisedProcess, run_supervised
from varde_contract.exception_groups import first_cause, single_cause


@dataclass(frozen=True, slots=True)
class Fleet:
    """A running fleet. `postgres` is None where the database is somebody else's."""

    address: str
    workers: tuple[SupervisedProcess, ...]
    postgres: SupervisedProcess | None

    def reload(self) -> None:
        """Have every worker read its certificates again, one that is just starting as soon as it is ready."""
        for worker in self.workers:
            worker.send_signal(signal.SIGHUP)


@asynccontextmanager
async def open_fleet(
    settings: SystemSettings, report: Report, *, kill_now: trio.Event | None = None
) -> AsyncIterator[Fleet]:
    """Run `settings.relay_workers` nodes while the block runs; the block begins when all are ready.

    Nesting is shutdown order::

        open_fleet
        └─ reserved port
           └─ lock on the data folder   where the embedded Postgres is ours to run
              └─ reaper                 stops the rest if this process is killed
                 └─ postgres            where neither a URL says another, nor anybody runs it
                    └─ worker x N       stopped all at once: each drains for itself

    Programs that are being stopped are killed once `kill_now` is set.

    Raises:
        BadAddress: the host is no address of this machine, or another program listens there.
        FolderInUse: another supervisor works on the data folder, and its Postgres does not run.
        StartFailed: a program never became ready.
        OSError: the folder cannot be made.
    """
    with _first_failure(), reserve_shared(settings.relay_bind) as address:
        programs = Programs(settings, settings.api_bind, address)
        async with (
            _open_launcher(settings, report, trio.Event() if kill_now is None else kill_now) as (start, ours),
            open_embedded(programs, start, report, external=settings.database_url, ours=ours) as postgres,
            trio.open_nursery() as nursery,
        ):
            workers = await _start_workers(programs, settings.relay_workers, start, report, nursery)
            yield Fleet(workers[0].address, workers, postgres)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _open_launcher(
    settings: SystemSettings, report: Report, kill_now: trio.Event
) -> AsyncIterator[tuple[Start, bool]]:
    """Yield a way to start programs, and whether the Postgres of the data folder is ours to run."""
    async with AsyncExitStack() as stack:
        lock: tuple[int, ...] = ()
        if settings.database_url is None:
            # Whoever holds it runs the Postgres as well, or will in a moment: it is joined.
            with suppress(FolderInUse):
                lock = (await stack.enter_async_context(open_lock(settings.data, report)),)
        reaper = await stack.enter_async_context(open_reaper(*lock))
        yield Launcher(reaper, report, kill_now).open_process, bool(lock)


async def _start_workers(
    programs: Programs, count: int, start: Start, report: Report, nursery: trio.Nursery
) -> tuple[SupervisedProcess, ...]:
    workers: dict[int, SupervisedProcess] = {}

    async def start_worker(index: int) -> None:
        workers[index] = await nursery.start(partial(run_supervised, programs.relay_node(index), start, report))

    # What is wrong for all of them is said once, and the first makes what they share.
    await start_worker(0)
    async with trio.open_nursery() as starting:
        for index in range(1, count):
            starting.start_soon(start_worker, index)
    return tuple(workers[index] for index in range(count))


@contextmanager
def _first_failure() -> Iterator[None]:
    """Let one failure leave the block: workers that fail at once say the same."""
    try:
        yield
    except BaseExceptionGroup as group:
        alike, other = group.split(StartFailed)
        cause = single_cause(group) if alike is None or other else first_cause(alike)
        raise cause from None
