"""Two workers as programs over a real Postgres: the job of one that is killed is taken up by the other."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import trio
import trio.lowlevel

from storage.database import Connection
from storage.island import Island, open_island
from tests.postgres import url_of

PATIENCE = 60.0
EXPIRED_CODE = """
    INSERT INTO one_time_code (address, code_digest, expires_ms, attempts_left) VALUES ($1, $1, 0, 5)
"""
LEFT = "SELECT count(*) FROM one_time_code"
HOLDER = "SELECT holder FROM job_lease WHERE job = 'retention'"


@contextmanager
def worker(folder: Path, database_url: str) -> Iterator[tuple["subprocess.Popen[str]", UUID]]:
    """A worker with a short lease, and its id."""
    environ = os.environ | {
        "VARDE_DATA": str(folder),
        "VARDE_DATABASE_URL": url_of("varde_worker", database_url),
        "VARDE_WORKER_LEASE_SECONDS": "2",
    }
    command = (sys.executable, "-m", "worker")
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            assert said["ready"] == "worker"
            yield process, UUID(said["address"])
        finally:
            process.kill()


class Database:
    """What the workers leave in the database."""

    def __init__(self, island: Island, connection: Connection) -> None:
        self._island = island
        self._connection = connection

    async def run(self, statement: str, *args: object) -> Any:
        """Return the first value of the answer."""
        return await self._island.run(self._connection.fetchval, statement, *args)

    async def wait_for(self, statement: str, answer: object) -> None:
        """Ask until that is the answer."""
        with trio.fail_after(PATIENCE):
            while await self.run(statement) != answer:
                await trio.lowlevel.checkpoint()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A connection of the test's own."""
    async with _open_database(database_url) as database:
        yield database


@asynccontextmanager
async def _open_database(url: str) -> AsyncIterator[Database]:
    async with open_island() as island:
        connection = await island.run(asyncpg.connect, url)
        try:
            yield Database(island, connection)
        finally:
            await island.run(connection.close)


async def test_the_job_of_a_killed_worker_is_taken_up(tmp_path: Path, database_url: str, database: Database) -> None:
    """The first keeps it while it lives; after kill -9 the other sweeps; at its orderly end the lease is given back."""
    with worker(tmp_path, database_url) as (first, first_id), worker(tmp_path, database_url) as (second, second_id):
        await database.wait_for(HOLDER, first_id)
        first.kill()
        await database.run(EXPIRED_CODE, b"a" * 32)
        await database.wait_for(HOLDER, second_id)
        await database.wait_for(LEFT, 0)
        second.send_signal(signal.SIGTERM)
        assert second.wait(PATIENCE) == 0
        assert await database.run(HOLDER) is None
