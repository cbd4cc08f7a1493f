"""The embedded Postgres beside others who may run it on the same folder: joined, or kept running by us.

It is started nowhere here, and no SQL is spoken.
"""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import trio

from supervisor.backoff import Backoff
from supervisor.doorstep import Answer, knock
from supervisor.happenings import Tell
from supervisor.keeper import Kept, StartFailed, open_kept
from supervisor.lock import FolderInUse
from supervisor.once import run_once
from supervisor.process import Start
from supervisor.programs import Programs

_PATIENCE: Final = 60.0  # seconds for somebody else's Postgres to start, or to stop
_POLL: Final = 0.2  # seconds; Postgres logs each time that it is asked too early


@asynccontextmanager
async def open_embedded(
    programs: Programs, start: Start, tell: Tell, *, another: str | None, ours: bool
) -> AsyncIterator[Kept | None]:
    """Have the embedded Postgres while the block runs, and point the programs that are described from now on at it.

    Nothing is done when they use `another` database. One that runs is joined, and None is yielded. Otherwise it
    is kept running, where the folder is `ours`; where it is another supervisor's, theirs is waited for.

    Raises:
        StartFailed: it never became ready.
        FolderInUse: somebody else's never became ready.
    """
    if another is not None:
        yield None
        return
    (url,) = await run_once(programs.postgres_url(), start, tell, aloud=False)
    programs.use_database(url)
    async with AsyncExitStack() as stack:
        postgres = None
        if await _wait_settled(url, unless=Answer.NOBODY if ours else None) is Answer.NOBODY:
            try:
                kept = open_kept(programs.postgres(), start, tell, Backoff(random.random))
                postgres = await stack.enter_async_context(kept)
            except* StartFailed:
                # A server that was started alone may have been faster: it needs no lock of ours.
                if await knock(url) is Answer.NOBODY:
                    raise
                await _wait_settled(url)
        yield postgres


async def _wait_settled(url: str, *, unless: Answer | None = None) -> Answer:
    """Wait until connections are accepted, or until the answer is the other one."""
    with trio.move_on_after(_PATIENCE):
        # Another process decides when: there is no event.
        while (answer := await knock(url)) not in {Answer.READY, unless}:  # noqa: ASYNC110 - see above
            await trio.sleep(_POLL)
        return answer
    raise FolderInUse("others work on the data folder, but no Postgres gets ready there: stop them, and try again")
