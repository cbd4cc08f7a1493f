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
from statistics import median
from typing import Final

import asyncpg
import trio

from bench.process import cpu_seconds
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

    def __init__(self, store: LogStore, size: int) -> None:
        """`size` is how many entries it is to have."""
        self.store, self.size = store, size
        self.log = Log(store)
        self.signers = log_signers("log.example/bench", os.urandom(32), os.urandom(32))
        self._random = random.Random(1)  # noqa: S311 - the same places in every run

    async def fill(self, cpu: Callable[[], float]) -> tuple[float, float]:
        """Append all; return seconds by the clock, and of CPU. What stores the lists themselves is not in it."""
        taken, busy, entries = 0.0, 0.0, self.size
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

    async def prove(self) -> float:
        """Return the milliseconds of CPU and nothing else that an inclusion proof takes, with its tiles at hand."""
        index = self._random.randrange(self.size)
        tiles = await self.store.tiles(tiles_of(list(proof_ranges(index, index + 1, self.size))))
        begun = time.perf_counter_ns()
        for subtree in proof_ranges(index, index + 1, self.size):
            range_hash(subtree, tiles.__getitem__)
        return (time.perf_counter_ns() - begun) / _NS_PER_MS

    async def look_up(self) -> None:
        """Ask for an account with all its lists, their proofs and the checkpoint, and check them as a client does."""
        found = await self.log.lookup(account_of(self._random.randrange(-(-self.size // LISTS))), 1)
        assert found is not None, "the log has no checkpoint"
        head, proven = found
        for each in proven:
            check_inclusion(each.logged.index, head.size, each.logged.entry.leaf(), head.root, each.hashes)

    async def prove_consistency(self) -> None:
        """Ask for a proof between a random size and the newest."""
        await self.log.consistency(self._random.randrange(1, self.size), self.size)

    async def read(self, path: str) -> bytes:
        """Return a file of the log, for the audit."""
        head = await self.log.head()
        assert head is not None, "the log has no checkpoint"
        if path in {"key", "checkpoint"}:
            return head.vkeys.encode() if path == "key" else head.note
        found = await self.log.bundle(*read_index_path(path.removeprefix("tile/entries/")))
        return found or b""


async def _timed(call: Callable[[], Awaitable[None]]) -> list[float]:
    """Return the milliseconds of each of many calls, by the clock, rising."""
    found = []
    for _ in range(SAMPLES):
        begun = time.perf_counter_ns()
        await call()
        found.append((time.perf_counter_ns() - begun) / _NS_PER_MS)
    return sorted(found)


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
            log = Measurement(stores.transparency, entries)
            postgres = int(next(folder.rglob("postmaster.pid")).read_text().split()[0])  # noqa: ASYNC240 - nobody waits
            taken, busy = await log.fill(lambda: time.process_time() + cpu_seconds(postgres))
            begun = time.perf_counter_ns()
            audited = await audit(log.read)
            audit_ms = (time.perf_counter_ns() - begun) / _NS_PER_MS
            async with open_island() as island:
                connection = await island.run(asyncpg.connect, url)
                stored = await island.run(connection.fetchval, _STORED)
                await island.run(connection.close)
            lookups = await _timed(log.look_up)
            return {
                "entries": audited.size,
                "bytes_per_entry": stored / entries,
                "append_us": busy / entries * _US,
                "append_wall_us": taken / entries * _US,
                "proof_ms": median([await log.prove() for _ in range(SAMPLES)]),
                "lookup_ms": median(lookups),
                "lookup_p99_ms": lookups[SAMPLES * 99 // 100],
                "consistency_ms": median(await _timed(log.prove_consistency)),
                "audit_s": audit_ms / 1_000,
            }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as _folder:
        sys.stdout.write(json.dumps(trio.run(measure, int(sys.argv[1]), Path(_folder))) + "\n")
