"""What TLS to Postgres costs a commit: the journal's own connection with and without it, turn about in one process.

`python -m bench.servers.journal_tls URL [COMMITS]` prints the figures as JSON. The database has the schema, and lets
the same user in with `sslmode=disable` too. What is committed stays there: docs/benchmarks.md says how to make one for
it. CPU is that of this process, which encrypts; Postgres does the same work once more.
"""

import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

import asyncpg
import trio

from domain.talk.model import Committed, Draft
from domain.talk.ports import JournalStore
from settings.storage import DatabaseUrl, StorageSettings
from storage.island import open_island
from storage.stores import open_storage
from varde_contract.ids import ENTROPY_BYTES, ClientId, ConversationId, DeviceId, MessageId, ProfileId, uuid7

SIZES: Final = (1, 4, 20, 256)
"""Messages in a commit: a quiet node, a busy one, and the most that it puts into one."""
SEALED: Final = bytes(300)
ROUNDS: Final = 7
_OPEN: Final = """
    INSERT INTO conversation (conversation_id, kind, created_ms, roster_version) VALUES ($1, 'group', 0, 1)
"""
_US: Final = 1_000_000


def _id() -> UUID:
    return uuid7(time.time_ns() // 1_000_000, os.urandom(ENTROPY_BYTES))


def _drafts(conversation: ConversationId, count: int) -> Sequence[Draft]:
    now_ms = time.time_ns() // 1_000_000
    return [
        Draft(
            message=MessageId(_id()),
            conversation=conversation,
            roster_version=1,
            client_id=ClientId(_id()),
            profile=ProfileId(_id()),
            device=DeviceId(_id()),
            sent_ms=now_ms,
            group=SEALED,
            devices=None,
        )
        for _ in range(count)
    ]


async def _measure(journal: JournalStore, conversation: ConversationId, size: int, commits: int) -> tuple[float, float]:
    """Return the CPU of a commit and the median time of one, in microseconds."""
    batches = [_drafts(conversation, size) for _ in range(commits)]
    times, busy = list[float](), time.process_time()
    for drafts in batches:
        begun = time.perf_counter()
        done = await journal.commit(drafts)
        times.append(time.perf_counter() - begun)
        assert all(isinstance(each, Committed) for each in done)
    return (time.process_time() - busy) / commits * _US, median(times) * _US


@asynccontextmanager
async def _open_journal(url: str) -> AsyncIterator[JournalStore]:
    async with open_storage(StorageSettings(database=DatabaseUrl(url), pool_min=1, pool_max=1)) as stores:
        yield stores.journal


async def measure(url: str, commits: int) -> dict[str, dict[str, float]]:
    """Return the figures by messages in a commit."""
    parts = urlsplit(url)
    without = {**dict(parse_qsl(parts.query)), "sslmode": "disable"}
    plain_url = parts._replace(query=urlencode(without)).geturl()
    conversation = ConversationId(_id())
    async with open_island() as island:
        connection = await island.run(asyncpg.connect, url)
        await island.run(connection.execute, _OPEN, conversation)
        await island.run(connection.close)
    found: dict[str, dict[str, float]] = {}
    async with _open_journal(plain_url) as plain, _open_journal(url) as tls:
        for size in SIZES:
            # In pairs, and the middle of their ratios: what else the machine does falls on both of a pair.
            pairs = [
                [await _measure(each, conversation, size, commits) for each in (plain, tls)] for _ in range(ROUNDS)
            ]
            found[str(size)] = {
                "plain_cpu_us": round(median(first[0] for first, _ in pairs)),
                "tls_cpu_us": round(median(second[0] for _, second in pairs)),
                "cpu_ratio": round(median(second[0] / first[0] for first, second in pairs), 3),
                "plain_us": round(median(first[1] for first, _ in pairs)),
                "tls_us": round(median(second[1] for _, second in pairs)),
                "time_ratio": round(median(second[1] / first[1] for first, second in pairs), 3),
            }
    return found


if __name__ == "__main__":
    given, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 300  # noqa: PLR2004 - the URL, and how many
    sys.stdout.write(json.dumps(trio.run(measure, given, count), indent=2) + "\n")
