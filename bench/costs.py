"""What single parts of the server cost, each alone in a process of its own on a real Postgres. It prints JSON.

- `python -m bench.costs log 1000000`: the transparency log. So many entries go in, and are proven, looked up, audited.
- `python -m bench.costs fleet`: what a relay node does because there are others: events that every node hears, and the
  tail of the journal. docs/operations/capacity.md reckons with it, as every node pays it for what the fleet does.
- `python -m bench.costs journal URL [COMMITS]`: what TLS to Postgres costs a commit, by the journal's own connection
  with and without it, turn about. The database has the schema, and lets the same user in with `sslmode=disable` too.
  What is committed stays there: docs/benchmarks.md says how to make one for it.

CPU is that of this process, and with it or beside it that of Postgres, as the figure's name says. The embedded Postgres
has its own settings, fsync included.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.server import cpu_seconds
from domain.events import Event
from domain.people.events import DeviceConnected
from domain.ports import Stores
from domain.talk.events import MessagesCommitted, PresenceMoved
from domain.talk.model import Committed, Draft
from domain.talk.ports import JournalStore
from domain.transparency.log import Log
from domain.transparency.ports import LogStore
from domain.transparency.sequencing import BATCH, sequence
from loadtest.stack.rooms import account_of
from relay.services import Dependencies, Services, make_services
from settings.relay import RelaySettings
from settings.storage import DatabaseUrl, EmbeddedDatabase, StorageSettings
from storage.bus.events import decode_events, encode_event
from storage.database import open_database
from storage.island import open_island
from storage.migrate import migrate
from storage.stores import open_storage
from varde.log_audit import audit
from varde_contract import ids
from varde_contract.noise import KeyPair
from varde_contract.talk import PresenceState
from varde_contract.transparency.checkpoint import log_signers
from varde_contract.transparency.entry import Entry
from varde_contract.transparency.merkle import check_inclusion, proof_ranges
from varde_contract.transparency.tiles import range_hash, read_index_path, tiles_of

LISTS: Final = 4
"""Of one account. A person with some devices changes them a few times."""
SAMPLES: Final = 1_000
EVENTS: Final = 20_000
MESSAGES: Final = 50_000
"""In the tail: ten thousand a second, in a window of five."""
LOOKS: Final = 5
SIZES: Final = (1, 4, 20, 256)
"""Messages in a commit: a quiet node, a busy one, and the most that it puts into one."""
SEALED: Final = bytes(300)
ROUNDS: Final = 7
COMMITS: Final = 300
_US: Final = 1_000_000
_NS_PER_MS: Final = 1_000_000
_TIME_MS: Final = 1_800_000_000_000
_STORED: Final = "SELECT pg_total_relation_size('log_entry') + pg_total_relation_size('log_tile')"
_FILL: Final = """
    INSERT INTO message (conversation_id, seq, message_id, client_id, profile_id, device_id, sent_ms)
    SELECT uuidv7(), 1, uuidv7(), uuidv7(), uuidv7(), uuidv7(),
           $1::bigint + number % 5000
    FROM generate_series(1, $2::int) AS number
"""
_OPEN: Final = """
    INSERT INTO conversation (conversation_id, kind, created_ms, roster_version) VALUES ($1, 'group', 0, 1)
"""


def _id(now_ms: int = _TIME_MS) -> Any:
    return ids.uuid7(now_ms, os.urandom(ids.ENTROPY_BYTES))


async def _carry_out(url: str, *statements: tuple[Any, ...], migrated: bool = True) -> Any:
    """Carry out statements, each with its arguments, on a plain connection. Return what the last one says."""
    said = None
    async with open_island() as island:
        connection: Any = await island.run(asyncpg.connect, url)
        if not migrated:
            await island.run(migrate, connection)
        for statement in statements:
            said = await island.run(connection.fetchval, *statement)
        await island.run(connection.close)
    return said


@asynccontextmanager
async def _open_own_stores(*statements: tuple[Any, ...]) -> AsyncIterator[tuple[str, int, Stores]]:
    """Yield URL, pid and stores of an embedded Postgres with the schema, in which statements were carried out."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_database(EmbeddedDatabase(Path(folder) / "postgres")) as url:
            await _carry_out(url, *statements, migrated=False)
            postgres = int(next(Path(folder).rglob("postmaster.pid")).read_text().split()[0])  # noqa: ASYNC240 - nobody waits
            async with _open_stores(url) as stores:
                yield url, postgres, stores


def _open_stores(url: str) -> AbstractAsyncContextManager[Stores]:
    return open_storage(StorageSettings(database=DatabaseUrl(url), pool_min=1, pool_max=2))


class Measurement:
    """The log while it is measured."""

    def __init__(self, store: LogStore, size: int) -> None:
        """`size` is how many entries it is to have."""
        self.store, self.size = store, size
        self.log = Log(store)
        self.signers = log_signers("log.example/bench", os.urandom(32), os.urandom(32))
        self._random = Random(1)  # noqa: S311 - the same places in every run

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


async def measure_log(entries: int) -> dict[str, float]:
    """Return the figures.

    An append is CPU, of this process and Postgres together, like the other figures of the benchmark; beside it what the
    clock says. Times of single calls are medians by the clock, but where their name says another percentile.
    """
    async with _open_own_stores() as (url, postgres, stores):
        log = Measurement(stores.transparency, entries)
        taken, busy = await log.fill(lambda: time.process_time() + cpu_seconds(postgres))
        begun = time.perf_counter_ns()
        audited = await audit(log.read)
        audit_ms = (time.perf_counter_ns() - begun) / _NS_PER_MS
        stored = await _carry_out(url, (_STORED,))
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


def _events() -> dict[str, Callable[[], Event]]:
    """The events of strangers, by name: nobody here has anything to do with them."""
    return {
        "presence": lambda: PresenceMoved("else", _id(), PresenceState.ACTIVE),
        "device_connected": lambda: DeviceConnected("else", _id(), 1),
        "messages_committed": lambda: MessagesCommitted("else", _id(), 1),
    }


async def _hear(services: Services, make: Callable[[], Event]) -> float:
    """Return the microseconds that an event from the bus takes until nothing of it waits."""
    texts = [encode_event(make()).decode() for _ in range(EVENTS)]
    begun = time.process_time()
    for text in texts:
        for event in decode_events(text):
            services.bridge.receive(event)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(services.presence_notifier.run)
        while not services.presence_notifier.idle:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    return (time.process_time() - begun) / EVENTS * _US


async def _look(services: Services, stores: Stores, postgres: int) -> dict[str, float]:
    """Return the microseconds for each message in the tail that a look at it takes, here and in Postgres."""
    own, theirs, seen = time.process_time(), cpu_seconds(postgres), 0
    for _ in range(LOOKS):
        heads = await stores.conversations.recent_heads(_TIME_MS - 1, _TIME_MS + 5_000)
        for conversation, head in heads.items():
            services.hub.note_head(conversation, head)
        seen += len(heads)
    await trio.sleep(0.1)  # the kernel counts in hundredths of a second
    return {
        "tail_node_us": (time.process_time() - own) / seen * _US,
        "tail_postgres_us": (cpu_seconds(postgres) - theirs) / seen * _US,
    }


async def measure_fleet() -> dict[str, float]:
    """Return microseconds of CPU: for each event, and for each message in each look at the tail."""
    without_keys = ("SET session_replication_role = replica",)  # of other tables
    async with _open_own_stores(without_keys, (_FILL, _TIME_MS, MESSAGES), ("ANALYZE message",)) as opened:
        _, postgres, stores = opened
        dependencies = Dependencies(
            static=KeyPair.generate(),
            ticket_publics=(Ed25519PrivateKey.generate().public_key().public_bytes_raw(),),
            clock=lambda: _TIME_MS,
            monotonic_clock=lambda: _TIME_MS,
            entropy=os.urandom,
            random=Random(1),  # noqa: S311 - it spreads load
        )
        services = make_services(RelaySettings(presence_pause=0.0), stores, dependencies)
        figures = {f"{name}_us": await _hear(services, make) for name, make in _events().items()}
        return figures | await _look(services, stores, postgres)


def _drafts(conversation: ids.ConversationId, count: int) -> Sequence[Draft]:
    now_ms = time.time_ns() // _NS_PER_MS
    return [
        Draft(
            message=_id(now_ms),
            conversation=conversation,
            roster_version=1,
            client_id=_id(now_ms),
            profile=_id(now_ms),
            device=_id(now_ms),
            sent_ms=now_ms,
            group=SEALED,
            devices=None,
        )
        for _ in range(count)
    ]


async def _commit(
    journal: JournalStore, conversation: ids.ConversationId, size: int, commits: int
) -> tuple[float, float]:
    """Return the CPU of a commit and the median time of one, in microseconds."""
    batches = [_drafts(conversation, size) for _ in range(commits)]
    times, busy = list[float](), time.process_time()
    for drafts in batches:
        begun = time.perf_counter()
        done = await journal.commit(drafts)
        times.append(time.perf_counter() - begun)
        assert all(isinstance(each, Committed) for each in done)
    return (time.process_time() - busy) / commits * _US, median(times) * _US


async def measure_journal_tls(url: str, commits: int) -> dict[str, dict[str, float]]:
    """Return the figures by messages in a commit."""
    parts = urlsplit(url)
    without = {**dict(parse_qsl(parts.query)), "sslmode": "disable"}
    plain_url = parts._replace(query=urlencode(without)).geturl()
    conversation = ids.ConversationId(_id(time.time_ns() // _NS_PER_MS))
    await _carry_out(url, (_OPEN, conversation))
    found: dict[str, dict[str, float]] = {}
    async with _open_stores(plain_url) as plain, _open_stores(url) as tls:
        for size in SIZES:
            # In pairs, and the middle of their ratios: what else the machine does falls on both of a pair.
            pairs = [
                [await _commit(each.journal, conversation, size, commits) for each in (plain, tls)]
                for _ in range(ROUNDS)
            ]
            found[str(size)] = {}
            for at, name, ratio in ((0, "cpu_us", "cpu_ratio"), (1, "us", "time_ratio")):
                found[str(size)] |= {
                    f"plain_{name}": round(median(first[at] for first, _ in pairs)),
                    f"tls_{name}": round(median(second[at] for _, second in pairs)),
                    ratio: round(median(second[at] / first[at] for first, second in pairs), 3),
                }
    return found


def main(what: str, *given: str) -> Any:
    """Measure one of the three, as the command line says it."""
    if what == "log":
        return trio.run(measure_log, int(given[0]))
    if what == "fleet":
        return {name: round(each, 2) for name, each in trio.run(measure_fleet).items()}
    return trio.run(measure_journal_tls, given[0], int(given[1]) if given[1:] else COMMITS)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:]), indent=2) + "\n")
