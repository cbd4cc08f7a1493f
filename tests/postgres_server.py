"""A PostgreSQL of a test's own, which can be made to hang, to die and to come back. Others share `tests.postgres`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from storage.embedded.cluster import NAME, embedded_url, postgres_command, prepare_cluster, program, ready_command

TIMEOUT: Final = 60.0
"""Seconds. Nothing here takes two; only what never comes takes this long."""
POLL: Final = 0.02


class PostgresServer:
    """The embedded server on a folder of its own."""

    def __init__(self, folder: Path) -> None:
        prepare_cluster(folder)
        self._template = embedded_url(folder)
        self.url = urlsplit(self._template)._replace(path="/used").geturl()
        self._folder = folder
        self._postmaster: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with (self._folder / "postgres.log").open("ab") as log:
            self._postmaster = subprocess.Popen(
                postgres_command(self._folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        _wait(lambda: subprocess.run(ready_command(self._folder), check=False).returncode == 0)

    def migrate(self) -> None:
        """Make the schema."""
        environ = os.environ | {"VARDE_DATABASE_URL": self._template}
        subprocess.run((sys.executable, "-m", "storage", "migrate"), env=environ, check=True, stdout=subprocess.DEVNULL)

    def renew(self) -> None:
        """Put an empty database with the schema in the place of the one that was used."""
        statements = "DROP DATABASE IF EXISTS used WITH (FORCE)", f"CREATE DATABASE used TEMPLATE {NAME}"
        commands = (part for statement in statements for part in ("-c", statement))
        # From outside: nobody may be connected to what is copied.
        psql = (program("psql"), "-X", "-q", "-d", urlsplit(self._template)._replace(path="/postgres").geturl())
        subprocess.run((*psql, *commands), check=True, stderr=subprocess.DEVNULL)

    def recover(self) -> None:
        """Let it run, in whatever state it is."""
        if self._postmaster is None:
            self.start()
        self.thaw()

    def freeze(self) -> None:
        """Let it hang: the sockets stay, and nobody answers."""
        self._tell(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on as if nothing had been."""
        self._tell(signal.SIGCONT)

    def kill(self) -> None:
        """End the postmaster like a power cut would; its children follow when they notice."""
        postmaster = self._running()
        children = _children_of(postmaster.pid)
        postmaster.kill()
        postmaster.wait()
        self._postmaster = None
        _wait(lambda: not any(_lives(pid) for pid in children))  # or no other could start on the folder

    def stop(self) -> None:
        """End it, in whatever state it is."""
        if self._postmaster is not None:
            self.thaw()
            self._postmaster.send_signal(signal.SIGQUIT)
            self._postmaster.wait(TIMEOUT)
            self._postmaster = None

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._postmaster is not None
        return self._postmaster

    def _tell(self, how: signal.Signals) -> None:
        # The postmaster first: while it stands still, no child is born that would be missed.
        pid = self._running().pid
        for each in (pid, *_children_of(pid)):
            with suppress(ProcessLookupError):  # a backend whose client hung up meanwhile
                os.kill(each, how)


def _children_of(pid: int) -> set[int]:
    processes = (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
    return {process for process in processes if _stat(process)[1:2] == [str(pid)]}


def _lives(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def _stat(pid: int) -> list[str]:
    """State, parent, and the rest of proc_pid_stat(5); nothing when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _wait(happened: Callable[[], bool]) -> None:
    for _ in range(round(TIMEOUT / POLL)):
        if happened():
            return
        time.sleep(POLL)  # between two looks at a process that tells nobody
    raise TimeoutError("the server does not do what it was told")


@contextmanager
def open_postgres_server(folder: Path) -> Iterator[PostgresServer]:
    """Run a migrated server until the block ends."""
    server = PostgresServer(folder)
    try:
        server.start()
        server.migrate()
        yield server
    finally:
        server.stop()
