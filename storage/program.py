"""How a server program runs over its storage: logging, signals, the ready line, and errors that a person can mend."""

import gc
import json
import logging
import os
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import parse_qs, urlsplit

import trio

from domain.ports import Stores, StoreUnavailable
from observability.logs import set_up_logs
from observability.process import VERSION
from observability.surprises import set_up_reports
from observability.tracing import Tracing
from settings.audit import AuditSettings
from settings.environment import ConfigError
from settings.observability import ObservabilitySettings
from settings.storage import DatabaseUrl, EmbeddedDatabase, StorageSettings
from storage.audit import record_configuration
from storage.embedded.cluster import ClusterError
from storage.embedded.os_user import OsUser, OsUserError, choose_os_user, owner_of
from storage.embedded.server import EmbeddedPostgresError
from storage.keys import KeyFileError
from storage.migrate import SchemaError
from storage.stores import open_storage
from varde_contract.exception_groups import first_cause

EXPECTED: Final[tuple[type[Exception], ...]] = (
    *(ConfigError, KeyFileError, ClusterError, EmbeddedPostgresError, OsUserError),
    *(SchemaError, StoreUnavailable, OSError),
)
"""What a person can mend; anything else is a surprise and keeps its traceback."""
SWITCH: Final = 0.0005
"""Seconds for which one thread may keep the interpreter from the other. With Python's 5 ms, what the island has for
Trio waited behind whatever Trio did: at 1,000 messages a second, 4.0 ms from send to receive instead of 3.3."""
_log = logging.getLogger(__name__)


class Serve(Protocol):
    """A server: `task_status` is started with the address it listens on, and it ends soon after `stop` is set."""

    async def __call__(
        self, stores: Stores, stop: trio.Event, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stop` is set."""


def run_program(name: str, prepare: Callable[[], tuple[str, Serve]]) -> None:
    """Run a server until SIGTERM or SIGINT has stopped it, and say when it is ready and where.

    `prepare` reads what the server is told, and returns its URL, with {} for the address, and what serves there. Exits
    with 1 and one line for what a person can mend.
    """
    sys.setswitchinterval(SWITCH)
    failed: list[str] = []
    try:
        tracing = _set_up_observability(name)
        (url, serve), storage = prepare(), StorageSettings.from_environ(os.environ)

        def started(address: str) -> None:
            _leave_root(name, storage)
            _say_ready(name, url.format(address))

        trio.run(_run, name, serve, storage, _mark_of(name, storage.data), started, tracing)
    except* EXPECTED as failures:
        failed.append(_first_words(failures))
    # The interpreter's end looks for cycles among all objects there are. With a thousand connections, which are such
    # cycles, that was half of the time that a relay took to stop. The kernel frees them at once.
    gc.freeze()
    if failed:
        sys.exit(f"{name}: {failed[0]}")


def _set_up_observability(program: str) -> Tracing | None:
    settings = ObservabilitySettings.from_environ(os.environ)
    set_up_logs(program, as_json=settings.json_logs)
    try:
        if settings.sentry_dsn is not None:
            set_up_reports(settings.sentry_dsn, program=program, release=VERSION)
        if settings.otlp_url is not None:
            return Tracing(settings.otlp_url, program=program, one_in=settings.otlp_one_in)
    except ImportError:
        raise ConfigError("tracing and reports need more: pip install varde-server[observability]") from None
    except ValueError:
        raise ConfigError("VARDE_SENTRY_DSN is not a DSN of Sentry") from None
    return None


def _mark_of(name: str, data: Path) -> Path | None:
    # Beside the keys and not beside the database: whoever puts back an old database must not put this back with it.
    folder = data / "keys"
    return folder / f"{name}.mark" if folder.is_dir() else None


def user_of(name: str, database: EmbeddedDatabase | DatabaseUrl) -> OsUser:
    """Return who the server of this name runs as when root starts it.

    The socket of the embedded Postgres is open to its owner only, so with that one the servers are this owner. They
    still cannot read each other's keys: the files are root's, and the kernel lets nobody look into the memory of a
    process that was root.

    Raises:
        OsUserError: there is no such user and it cannot be made.
    """
    query = parse_qs(urlsplit(database.url).query) if isinstance(database, DatabaseUrl) else {}
    sockets = Path(*query.get("host", ()))
    if sockets.is_absolute() and not sockets.stat().st_mode & stat.S_IXOTH:
        return owner_of(sockets)
    return choose_os_user(f"varde-{name}")


def _leave_root(name: str, storage: StorageSettings) -> None:
    # Only now: it listens, perhaps on a port below 1024, and has read its own keys, which no other user can.
    if os.geteuid() != 0:
        return
    if isinstance(storage.database, EmbeddedDatabase):
        _log.warning("stays root, because it runs the embedded Postgres itself: use `varde up`, or a database URL")
        return
    user = user_of(name, storage.database)
    for imported in (sys.prefix, os.__file__, __file__):  # Python may import more of it later
        user.let_through(Path(imported).parent)
    user.assume()


async def _run(
    name: str,
    serve: Serve,
    storage: StorageSettings,
    mark: Path | None,
    started: Callable[[str], None],
    tracing: Tracing | None,
) -> None:
    stop = trio.Event()
    # The signals first: who starts a server and stops it at once shall not find it deaf.
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery, open_storage(storage, mark=mark) as stores:
            nursery.start_soon(_stop_on_signal, signals, stop)
            if tracing is not None:
                nursery.start_soon(tracing.run)
            async with trio.open_nursery() as server:
                started(await server.start(serve, stores, stop))
                # In the background: nobody waits for it, and a program serves without it.
                nursery.start_soon(record_configuration, storage, name, AuditSettings.from_environ(os.environ))
            nursery.cancel_scope.cancel()


def read_clock() -> int:
    """Milliseconds since the Unix epoch: what a running program hands to the domain as its clock."""
    return time.time_ns() // 1_000_000


def read_monotonic_clock() -> int:
    """Milliseconds that nobody can set back: for what is measured within one process, such as budgets."""
    return time.monotonic_ns() // 1_000_000


def _say_ready(name: str, address: str) -> None:
    sys.stdout.write(json.dumps({"ready": name, "address": address}) + "\n")
    sys.stdout.flush()


async def _stop_on_signal(signals: AsyncIterator[int], stop: trio.Event) -> None:
    async for _ in signals:  # the second one finds the stop under way, which has a deadline of its own
        stop.set()


def _first_words(failure: BaseException) -> str:
    failure = first_cause(failure)
    return str(failure) or type(failure).__name__
