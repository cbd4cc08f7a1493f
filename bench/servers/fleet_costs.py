"""What a relay node does because there are others: events that every node hears, and the tail of the journal.

`python -m bench.servers.fleet_costs` prints the figures as JSON. They are CPU, of this process and of an embedded
Postgres. docs/operations/capacity.md reckons with them: each of these is paid by every node for what the whole fleet
does.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import asyncpg
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.process import cpu_seconds
from domain.events import Event
from domain.people.events import DeviceConnected
from domain.ports import Stores
from domain.talk.events import MessagesCommitted, PresenceMoved
from relay.services import Dependencies, Services, make_services
from settings.relay import RelaySettings
from settings.storage import DatabaseUrl, EmbeddedDatabase, StorageSettings
from storage.bus.events import decode_events, encode_event
from storage.database import open_database
from storage.island import open_island
from storage.migrate import migrate
from storage.stores import open_storage
from varde_contract.ids import ConversationId, DeviceId, ProfileId, uuid7
from varde_contract.noise import KeyPair
from varde_contract.talk import PresenceState

EVENTS: Final = 20_000
MESSAGES: Final = 50_000
"""In the tail: ten thousand a second, in a window of five."""
LOOKS: Final = 5
_US: Final = 1_000_000
_TIME_MS: Final = 1_800_000_000_000
_FILL: Final = """
    INSERT INTO message (conversation_id, seq, message_id, client_id, profile_id, device_id, sent_ms)
    SELECT uuidv7(), 1, uuidv7(), uuidv7(), uuidv7(), uuidv7(),
           $1::bigint + number % 5000
    FROM generate_series(1, $2::int) AS number
"""


def _id() -> bytes:
    return os.urandom(10)


def _events() -> dict[str, Callable[[], Event]]:
    """The events of strangers, by name: nobody here has anything to do with them."""
    return {
        "presence": lambda: PresenceMoved("else", ProfileId(uuid7(_TIME_MS, _id())), PresenceState.ACTIVE),
        "device_connected": lambda: DeviceConnected("else", DeviceId(uuid7(_TIME_MS, _id())), 1),
        "messages_committed": lambda: MessagesCommitted("else", ConversationId(uuid7(_TIME_MS, _id())), 1),
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


async def measure(folder: Path) -> dict[str, float]:
    """Return microseconds of CPU: for each event, and for each message in each look at the tail."""
    async with open_database(EmbeddedDatabase(folder / "postgres")) as url:
        async with open_island() as island:
            connection = await island.run(asyncpg.connect, url)
            await island.run(migrate, connection)
            await island.run(connection.execute, "SET session_replication_role = replica")  # without foreign keys
            await island.run(connection.execute, _FILL, _TIME_MS, MESSAGES)
            await island.run(connection.execute, "ANALYZE message")
            await island.run(connection.close)
        async with open_storage(StorageSettings(database=DatabaseUrl(url), pool_min=1, pool_max=2)) as stores:
            dependencies = Dependencies(
                static=KeyPair.generate(),
                ticket_publics=(Ed25519PrivateKey.generate().public_key().public_bytes_raw(),),
                clock=lambda: _TIME_MS,
                monotonic_clock=lambda: _TIME_MS,
                entropy=os.urandom,
                random=Random(1),  # noqa: S311 - it spreads load
            )
            services = make_services(RelaySettings(presence_pause=0.0), stores, dependencies)
            postgres = int(next(folder.rglob("postmaster.pid")).read_text().split()[0])  # noqa: ASYNC240 - nobody waits
            figures = {f"{name}_us": await _hear(services, make) for name, make in _events().items()}
            return figures | await _look(services, stores, postgres)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as _folder:
        found = trio.run(measure, Path(_folder))
        sys.stdout.write(json.dumps({name: round(each, 2) for name, each in found.items()}) + "\n")
