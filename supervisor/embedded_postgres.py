"""The embedded Postgres of a data folder that several supervisors may share: probed, joined, or run by us."""

import enum
import random
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final
from urllib.parse import parse_qs, urlsplit

import trio

from supervisor.data_lock import FolderInUse
from supervisor.events import Report
from supervisor.process import Start
from supervisor.programs import Programs
from supervisor.supervised import Backoff, StartFailed, SupervisedProcess, open_supervised, run_once

PROTOCOL: Final = 3 << 16
NOT_NOW: Final = b"C57P03\0"
"""The field of an ErrorResponse that says cannot_connect_now: it starts, recovers or stops."""
_PROBE_TIMEOUT: Final = 3.0  # seconds; a server that starts may have no time to answer
_REPLY_BYTES: Final = 4_096
_SETTLE_TIMEOUT: Final = 60.0  # seconds for somebody else's Postgres to start, or to stop
_POLL: Final = 0.2  # seconds; Postgres logs each attempt that comes too early


class PostgresState(enum.Enum):
    """What a probe of the server has found."""

    ABSENT = enum.auto()
    STARTING = enum.auto()
    READY = enum.auto()


async def probe_postgres(url: str) -> PostgresState:
    """Return what the server says to a start-up message, sent over the Unix socket that this database URL names.

    See PostgreSQL 18, 54.2.1. The reply to a client that may not connect also shows that the server is ready.
    """
    parts = urlsplit(url)
    where = parse_qs(parts.query)
    folder, port = where.get("host", [""])[0], where.get("port", [""])[0]
    with trio.move_on_after(_PROBE_TIMEOUT), trio.socket.socket(trio.socket.AF_UNIX) as client:
        try:
            await client.connect(f"{folder}/.s.PGSQL.{port}")
        except OSError:
            return PostgresState.ABSENT
        try:
            await client.send(_startup(parts.username or "", parts.path.removeprefix("/")))
            reply = await client.recv(_REPLY_BYTES)
        except OSError:
            return PostgresState.STARTING
        return PostgresState.STARTING if not reply or NOT_NOW in reply else PostgresState.READY
    return PostgresState.STARTING


def _startup(user: str, database: str) -> bytes:
    fields = b"".join(each.encode() + b"\0" for each in ("user", user, "database", database))
    return struct.pack("!II", 8 + len(fields) + 1, PROTOCOL) + fields + b"\0"


@asynccontextmanager
async def open_embedded(
    programs: Programs, start: Start, report: Report, *, external: str | None, ours: bool
) -> AsyncIterator[SupervisedProcess | None]:
    """Have the embedded Postgres while the block runs, and point the programs that are described from now on at it.

    With an `external` database nothing is done. A Postgres that runs already is joined, and None is yielded. Otherwise
    it is started here when the folder is `ours`; when it is another supervisor's, their Postgres is waited for.

    Raises:
        StartFailed: it never became ready.
        FolderInUse: somebody else's never became ready.
    """
    if external is not None:
        yield None
        return
    (url,) = await run_once(programs.postgres_url(), start, report, report_output=False)
    programs.use_database(url)
    async with AsyncExitStack() as stack:
        postgres = None
        if await _wait_settled(url, unless=PostgresState.ABSENT if ours else None) is PostgresState.ABSENT:
            try:
                supervised = open_supervised(programs.postgres(), start, report, Backoff(random.random))
                postgres = await stack.enter_async_context(supervised)
            except* StartFailed:
                # A relay that was started by itself runs a Postgres without taking the lock, and may have been faster.
                if await probe_postgres(url) is PostgresState.ABSENT:
                    raise
                await _wait_settled(url)
        yield postgres


async def _wait_settled(url: str, *, unless: PostgresState | None = None) -> PostgresState:
    """Wait until the server is ready, or in the state `unless`."""
    with trio.move_on_after(_SETTLE_TIMEOUT):
        # Another process decides when: there is no event.
        while (state := await probe_postgres(url)) not in {PostgresState.READY, unless}:  # noqa: ASYNC110 - see above
            await trio.sleep(_POLL)
        return state
    raise FolderInUse("others work on the data folder, but no Postgres gets ready there: stop them, and try again")
