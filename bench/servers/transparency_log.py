"""The transparency log over an embedded Postgres of its own: so many entries go in, and are proven, looked up, audited.

`python -m bench.servers.transparency_log 1000000` prints the figures as JSON. They are of this process alone, one core,
and Postgres beside it. Settings of Postgres are those of the embedded one, fsync included.
"""

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import asyncpg
import psutil
import trio

from bench.rooms import account_of
from domain.transparency.log import Log
from domain.transparency.ports import LogStore
from domain.transparency.sequencing import BATCH, sequence
from settings.storage import DatabaseUrl, EmbeddedDatabase, StorageSettings
from storage.database import open_database
from storage.island import open_island
from storage.migrate import migrate
from storage.stores import open_storage
from varde.log_audit import audit
from varde_contract.transparency.checkpoint import log_signers
from varde_contract.transparency.entry import Entry
from varde_contract.transparency.merkle import check_inclusion, proof_ranges
from varde_contract.transparency.tiles import range_hash, read_index_path, tiles_of

LISTS: Final = 4
"""Of one account. A person with some devices changes them a few times."""
SAMPLES: Final = 1_000
_STORED: Final = "SELECT pg_total_relation_size('log_entry') + pg_total_relation_size('log_tile')"
_US: Final = 1_000_000
_NS_PER_MS: Final = 1_000_000


class Measurement:
    """The log while it is measured."""

    def __init__(self, store: LogStore) -> None:
        self.store = store
        self.log = Log(store)
        self.signers = log_signers("log.example/bench", os.urandom(32), os.urandom(32))
        self._random = random.Random(1)  # noqa: S311 - the same places in every run

    async def fill(self, entries: int, cpu: Callable[[], float]) -> tuple[float, float]:
        """Append so many; return seconds by the clock, and of CPU. What stores the lists themselves is not in it."""
        taken = busy = 0.0
        for first in range(0, entries, BATCH):
            numbers = range(first, min(first + BATCH, entries))
            # Lists of an account are far apart in the log, as they are in life.
            accounts = -(-entries // LISTS)
            wanted = [Entry(account_of(n % accounts), n // accounts + 1, os.urandom(32)) for n in numbers]
            await self.store.enqueue(wanted)
            begun, worked = time.perf_counter(), cpu()
            await sequence(self.store, self.signers, time.time_ns() // _NS_PER_MS)
            taken, busy = taken + time.perf_counter() - begun, busy + cpu() - worked
        return taken, busy

    async def proofs(self, size: int) -> list[float]:
        """Milliseconds of CPU and nothing else for an inclusion proof, with its tiles at hand."""
        found = []
        for _ in range(SAMPLES):
            index = self._random.randrange(size)
            ranges = list(proof_ranges(index, index + 1, size))
            tiles = await self.store.tiles(tiles_of(ranges))
            begun = time.perf_counter_ns()
            for subtree in proof_ranges(index, index + 1, size):
                range_hash(subtree, tiles.__getitem__)
            found.append((time.perf_counter_ns() - begun) / _NS_PER_MS)
        return found

    async def lookups(self, size: int) -> list[float]:
        """Milliseconds for a look-up of an account with all its lists, their proofs and the checkpoint."""
        accounts = -(-size // LISTS)

        async def look_up() -> None:
            found = await self.log.lookup(account_of(self._random.randrange(accounts)), 1)
            if found is None:
                raise AssertionError("the log has no checkpoint")
            head, proven = found
            for each in proven:
                check_inclusion(each.logged.index, head.size, each.logged.entry.leaf(), head.root, each.hashes)

        return await _timed(look_up)

    async def consistency(self, size: int) -> list[float]:
        """Milliseconds for a consistency proof between a random size and the newest."""

        async def prove() -> None:
            await self.log.consistency(self._random.randrange(1, size), size)

        return await _timed(prove)

    async def read(self, path: str) -> bytes:
        """Return a file of the log, for the audit."""
        head = await self.log.head()
        if head is None:
            raise AssertionError("the log has no checkpoint")
        if path in {"key", "checkpoint"}:
            return head.vkeys.encode() if path == "key" else head.note
        found = await self.log.bundle(*read_index_path(path.removeprefix("tile/entries/")))
        return found or b""


def _postgres_in(folder: Path) -> psutil.Process:
    return psutil.Process(int(next(folder.rglob("postmaster.pid")).read_text().split()[0]))


def _cpu_of(postgres: psutil.Process) -> float:
    """Return seconds of CPU that Postgres has used: the server, its connections, its writers."""
    times = [process.cpu_times() for process in (postgres, *postgres.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


async def _timed(call: Callable[[], Awaitable[None]]) -> list[float]:
    found = []
    for _ in range(SAMPLES):
        begun = time.perf_counter_ns()
        await call()
        found.append((time.perf_counter_ns() - begun) / _NS_PER_MS)
    return found


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[len(values) * percent // 100]


async def measure(entries: int, folder: Path) -> dict[str, float]:
    """Return the figures.

    An append is CPU, of this process and Postgres together, like the other figures of the benchmark; beside it what the
    clock says. Times of single calls are medians by the clock, but where their name says another percentile.
    """
    async with open_database(EmbeddedDatabase(folder / "postgres")) as url:
        async with open_island() as island:
            connection = await island.run(asyncpg.connect, url)
            await island.run(migrate, connection)
            await island.run(connection.close)
        async with open_storage(StorageSettings(database=DatabaseUrl(url), pool_min=1, pool_max=2)) as stores:
            log = Measurement(stores.transparency)
            postgres = _postgres_in(folder)
            taken, busy = await log.fill(entries, lambda: time.process_time() + _cpu_of(postgres))
            begun = time.perf_counter_ns()
            audited = await audit(log.read)
            audit_ms = (time.perf_counter_ns() - begun) / _NS_PER_MS
            async with open_island() as island:
                connection = await island.run(asyncpg.connect, url)
                stored = await island.run(connection.fetchval, _STORED)
                await island.run(connection.close)
            return {
                "entries": audited.size,
                "bytes_per_entry": stored / entries,
                "append_us": busy / entries * _US,
                "append_wall_us": taken / entries * _US,
                "proof_ms": _percentile(await log.proofs(entries), 50),
                "lookup_ms": _percentile(lookups := await log.lookups(entries), 50),
                "lookup_p99_ms": _percentile(lookups, 99),
                "consistency_ms": _percentile(await log.consistency(entries), 50),
                "audit_s": audit_ms / 1_000,
            }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as _folder:
        sys.stdout.write(json.dumps(trio.run(measure, int(sys.argv[1]), Path(_folder))) + "\n")
