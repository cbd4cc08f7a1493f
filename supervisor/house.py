"""The house: which programs there are, in which order they start, and so in which order they stop.

How one of them is kept running is `keeper.py`; nothing is printed here.
"""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from supervisor.backoff import Backoff
from supervisor.happenings import Tell
from supervisor.keeper import Kept, open_kept
from supervisor.lock import open_lock
from supervisor.once import run_once
from supervisor.ports import reserve
from supervisor.process import Launcher
from supervisor.program import Program
from supervisor.programs import Programs
from supervisor.settings import HouseSettings
from supervisor.watching import open_watch
from varde_contract.exception_groups import ungrouped


@dataclass(frozen=True, slots=True)
class House:
    """A running house. `postgres` is None where the database is somebody else's; its URL may hold a password."""

    data: Path
    database_url: str = field(repr=False)
    api_url: str
    relay_url: str
    postgres: Kept | None
    relay: Kept
    api: Kept
    worker: Kept

    @property
    def programs(self) -> tuple[Kept, ...]:
        """Those that are kept running, in the order they were started."""
        return (*((self.postgres,) if self.postgres else ()), self.relay, self.api, self.worker)


@asynccontextmanager
async def open_house(settings: HouseSettings, tell: Tell, *, hurry: trio.Event | None = None) -> AsyncIterator[House]:
    """Run everything while the block runs; the block begins when all of it is ready. Nesting is shutdown order.

        open_house
        └─ lock on the data folder, reserved ports
           └─ watchman              stops the rest should we be killed
              └─ postgres           the embedded one, unless there is a URL
                 ├─ migrate         to its end, before the others start
                 └─ relay
                    └─ api
                       └─ worker    stopped first

    Programs that are being stopped are killed once `hurry` is set.

    Raises:
        FolderInUse: another supervisor works on the data folder.
        StartFailed: a program never became ready.
        BadAddress: a host is no address of this machine.
        OSError: the folder cannot be made.
    """
    with ungrouped(), ExitStack() as ports:
        async with open_lock(settings.data, tell) as lock, open_watch(lock) as watch, AsyncExitStack() as stack:
            api_address = ports.enter_context(reserve(settings.api_bind))
            relay_address = ports.enter_context(reserve(settings.relay_bind))
            programs = Programs(settings, api_address, relay_address)
            start = Launcher(watch, tell, trio.Event() if hurry is None else hurry).open_process

            async def keep(program: Program) -> Kept:
                backoff = Backoff(random.random)
                return await stack.enter_async_context(open_kept(program, start, tell, backoff))

            postgres = None
            if settings.database_url is None:
                postgres = await keep(programs.postgres())
                (url,) = await run_once(programs.postgres_url(), start, tell, aloud=False)
                programs.use_database(url)
            await run_once(programs.migrate(), start, tell)
            relay = await keep(programs.relay())
            api = await keep(programs.api())
            worker = await keep(programs.worker())
            yield House(
                data=settings.data,
                database_url=programs.database_url,
                api_url=programs.api_url,
                relay_url=programs.relay_url,
                postgres=postgres,
                relay=relay,
                api=api,
                worker=worker,
            )
