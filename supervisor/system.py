"""The whole system on one machine: which programs run, and in which order they start and stop."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from supervisor.authority import make_files
from supervisor.data_lock import open_lock
from supervisor.events import Report
from supervisor.ports import reserve
from supervisor.process import Launcher
from supervisor.programs import Program, Programs
from supervisor.reaper import open_reaper
from supervisor.settings import SystemSettings
from supervisor.supervised import Backoff, SupervisedProcess, open_supervised, run_once
from varde_contract.exception_groups import ungrouped


@dataclass(frozen=True, slots=True)
class System:
    """The running system. `postgres` is None where the database is somebody else's; its URL may hold a password."""

    data: Path
    database_url: str = field(repr=False)
    api_url: str
    relay_url: str
    authority: Path | None
    """What clients are to trust, where the certificates were made here."""
    outbox: Path | None
    """Where sign-in codes come to lie; None where a mail server takes them."""
    postgres: SupervisedProcess | None
    relay: SupervisedProcess
    api: SupervisedProcess
    worker: SupervisedProcess

    @property
    def programs(self) -> tuple[SupervisedProcess, ...]:
        """Those that are kept running, in the order they were started."""
        return (*((self.postgres,) if self.postgres else ()), self.relay, self.api, self.worker)


@asynccontextmanager
async def open_system(
    settings: SystemSettings, report: Report, *, kill_now: trio.Event | None = None
) -> AsyncIterator[System]:
    """Run everything while the block runs; the block begins when all of it is ready. Nesting is shutdown order.

        open_system
        └─ lock on the data folder, reserved ports
           └─ reaper                stops the rest if this process is killed
              └─ postgres           the embedded one, unless there is a URL
                 ├─ migrate         to its end, before the others start
                 └─ relay
                    └─ api
                       └─ worker    stopped first

    Programs that are being stopped are killed once `kill_now` is set.

    Raises:
        FolderInUse: another supervisor works on the data folder.
        StartFailed: a program never became ready.
        BadAddress: a host is no address of this machine.
        OSError: the folder cannot be made.
    """
    with ungrouped(), ExitStack() as ports:
        async with open_lock(settings.data, report) as lock, open_reaper(lock) as reaper, AsyncExitStack() as stack:
            api_address = ports.enter_context(reserve(settings.api_bind))
            relay_address = ports.enter_context(reserve(settings.relay_bind))
            authority = None
            if settings.public is not None and not (settings.tls and settings.api_tls):
                files, authority = make_files(settings.data, settings.public)
                settings = settings.with_certificates(files)
            programs = Programs(settings, api_address, relay_address)
            start = Launcher(reaper, report, trio.Event() if kill_now is None else kill_now).open_process

            async def supervise(program: Program) -> SupervisedProcess:
                backoff = Backoff(random.random)
                return await stack.enter_async_context(open_supervised(program, start, report, backoff))

            postgres = None
            if settings.database_url is None:
                postgres = await supervise(programs.postgres())
                (url,) = await run_once(programs.postgres_url(), start, report, report_output=False)
                programs.use_database(url)
            await run_once(programs.migrate(), start, report)
            # Servers refuse a schema that is not theirs, so it is made first. The relay comes before the API, so that
            # a ticket can be used as soon as there is one; stopping in reverse, none is issued while the relay drains.
            relay = await supervise(programs.relay())
            api = await supervise(programs.api())
            worker = await supervise(programs.worker())
            yield System(
                data=settings.data,
                database_url=programs.database_url,
                api_url=programs.api_url,
                relay_url=programs.relay_url,
                authority=authority,
                outbox=None if settings.environ.get("VARDE_SMTP_URL") else settings.data / "outbox",
                postgres=postgres,
                relay=relay,
                api=api,
                worker=worker,
            )
