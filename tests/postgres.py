"""A real PostgreSQL for tests: one server for each pytest process, a fresh database for each test that asks.

Nothing is shared between processes or tests, and no test may connect to a database it was not given here.
"""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
import trio

from storage.embedded.cluster import program
from storage.embedded.server import open_embedded_postgres
from storage.grants import RIGHTS
from tests.system import SCRATCH

MAKE_USERS: Final = tuple(
    f"DO $$ BEGIN CREATE ROLE {user} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$" for user in RIGHTS
)
"""One for each program. What each may do is granted with the schema, and copied with its database."""


def url_of(user: str, url: str) -> str:
    """The URL of the same database for another user."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}").geturl()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a server on which databases can be made: VARDE_TEST_DATABASE_URL, or one of our own."""
    given = os.environ.get("VARDE_TEST_DATABASE_URL")
    if given is not None:
        run_sql(given, *MAKE_USERS)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="varde-", dir=SCRATCH) as folder, _server(Path(folder)) as url:
        # Nothing here outlives the process, so nothing has to survive a power cut either.
        run_sql(
            url,
            "ALTER SYSTEM SET fsync = off",
            "ALTER SYSTEM SET full_page_writes = off",
            "SELECT pg_reload_conf()",
            *MAKE_USERS,
        )
        yield url


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> Iterator[str]:
    """The name of a database with the whole schema and no rows, of which copies are cheap."""
    with database(postgres_url, "template0") as url:
        environ = os.environ | {"VARDE_DATABASE_URL": url}
        subprocess.run((sys.executable, "-m", "storage", "migrate"), env=environ, check=True, stdout=subprocess.DEVNULL)
        yield urlsplit(url).path[1:]


@pytest.fixture
def database_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """The URL of a fresh database: migrated, without rows, dropped after the test."""
    with database(postgres_url, migrated_template) as url:
        yield url


@pytest.fixture
def bare_database_url(postgres_url: str) -> Iterator[str]:
    """The URL of a fresh database with nothing in it, dropped after the test."""
    with database(postgres_url, "template0") as url:
        yield url


@contextmanager
def database(server: str, template: str, *, maintenance: str | None = None) -> Iterator[str]:
    """Make a database of a template, and drop it at the end. `maintenance` is another one to do it from.

    Nobody may be connected to a template while it is copied.
    """
    name = f"varde_test_{secrets.token_hex(8)}"
    beside = server if maintenance is None else urlsplit(server)._replace(path=f"/{maintenance}").geturl()
    # Its files are copied, and not each page through the log: a third of the time less, where no fsync is waited for.
    run_sql(beside, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        run_sql(beside, f"DROP DATABASE {name} WITH (FORCE)")


def run_sql(url: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""
    commands = (part for statement in statements for part in ("-c", statement))
    psql = (program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url)
    subprocess.run((*psql, *commands), check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    """The product's own embedded server, run from a thread, because it has to outlive every test's `trio.run`."""
    with ThreadPoolExecutor(1, "postgres-for-tests") as thread:
        opened: Future[tuple[str, Callable[[], None]]] = Future()
        running = thread.submit(trio.run, _serve, folder, opened)
        running.add_done_callback(lambda ended: None if opened.done() else opened.set_exception(ended.exception()))
        url, stop = opened.result()
        try:
            yield url
        finally:
            stop()
            running.result()


async def _serve(folder: Path, opened: Future[tuple[str, Callable[[], None]]]) -> None:
    stop, token = trio.Event(), trio.lowlevel.current_trio_token()
    async with open_embedded_postgres(folder) as url:
        opened.set_result((url, partial(token.run_sync_soon, stop.set)))
        await stop.wait()  # as long as the tests take
