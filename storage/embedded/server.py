"""The embedded PostgreSQL as a running server: join the one on a folder, or run one for as long as a block lasts."""

import logging
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from storage.embedded.cluster import embedded_url, is_claimed, postgres_command, prepare_cluster, ready_command

SECONDS: Final = 1.0
POLL: Final = 0.05 * SECONDS  # Postgres announces nothing a stranger could wait for
ATTEMPTS: Final = 6  # another server may be starting or stopping, or a dead one's processes not have noticed yet
LOG_LINES: Final = 12

_log = logging.getLogger(__name__)


class EmbeddedPostgresError(Exception):
    """The embedded Postgres did not start or did not answer; the text ends with the last lines of its log."""


@asynccontextmanager
async def open_embedded_postgres(folder: Path, *, deadline: float = 60 * SECONDS) -> AsyncIterator[str]:
    """Yield the URL of a server on `folder` that accepts connections.

    A server that runs already is joined, and left running at exit. Otherwise one is started, and stopped at exit; its
    log is `postgres.log` in the folder. Whoever joined it meanwhile loses it then.

    Raises:
        ClusterError: the folder cannot be used.
        EmbeddedPostgresError: no server accepts connections after `deadline` seconds.
    """
    # In this process as well as in the child, so that what is wrong with the folder is raised here, in its own words.
    await trio.to_thread.run_sync(prepare_cluster, folder)
    log = _Log(folder / "postgres.log")
    try:
        with trio.fail_after(deadline):
            server = await _join_or_start(folder, log)
    except trio.TooSlowError:
        raise EmbeddedPostgresError(f"Postgres did not accept connections in {deadline:g} s{log.tail()}") from None
    try:
        yield embedded_url(folder)
    finally:
        await _stop(server)


class _Log:
    """The server's log file, of which only what this start has added is shown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start = path.stat().st_size if path.exists() else 0

    def tail(self) -> str:
        """The last lines, each on its own line after a heading; empty when there are none."""
        if not self.path.exists():
            return ""
        lines = self.path.read_bytes()[self._start :].decode(errors="replace").splitlines()[-LOG_LINES:]
        return "".join(f"\n    {line}" for line in (f"the end of {self.path}:", *lines)) if lines else ""


async def _join_or_start(folder: Path, log: _Log) -> trio.Process | None:
    """None when a running server was joined."""
    for attempt in range(ATTEMPTS):
        if await _is_ready(folder):
            return None
        disputed = is_claimed(folder)
        server = await _start(folder, log)
        try:
            if await _wait_ready(folder, server):
                return server
        except BaseException:
            await _stop(server)
            raise
        if not (disputed or is_claimed(folder)):
            break  # nobody was in the way: it would end the same way again
        await trio.sleep(POLL * 2**attempt)
    raise EmbeddedPostgresError(f"Postgres ended while it was starting{log.tail()}")


async def _start(folder: Path, log: _Log) -> trio.Process:
    log.path.touch(mode=0o600)
    with log.path.open("ab") as file:
        # A session of its own: Ctrl-C in a terminal reaches us, and we stop Postgres when its clients are done.
        server = await trio.lowlevel.open_process(
            postgres_command(folder), stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    # Reaps it whenever it dies: a zombie counts as alive for Postgres, which would not start on the folder again.
    trio.lowlevel.spawn_system_task(server.wait)
    return server


async def _wait_ready(folder: Path, server: trio.Process) -> bool:
    """False when this server ended, perhaps because another one on the folder was faster."""
    while server.poll() is None:
        if await _is_ready(folder):
            return True
        await trio.sleep(POLL)
    return False


async def _is_ready(folder: Path) -> bool:
    return (await trio.run_process(ready_command(folder), check=False)).returncode == 0


async def _stop(server: trio.Process | None) -> None:
    """Ask for a fast shutdown, then for an immediate one, which only makes the next start replay the log of changes."""
    if server is None:
        return
    # Whatever ends us, Postgres must not be left without anybody who stops it.
    with trio.CancelScope(shield=True):
        for number, patience in (
            (signal.SIGINT, 30 * SECONDS),
            (signal.SIGQUIT, 10 * SECONDS),
            (signal.SIGKILL, 10 * SECONDS),
        ):
            if server.poll() is None:
                server.send_signal(number)
            with trio.move_on_after(patience):
                await server.wait()
                return
            _log.warning("Postgres (pid %d) did not end after signal %d", server.pid, number)
