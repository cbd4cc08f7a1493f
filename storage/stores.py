"""`open_storage` opens all stores of the domain and the bus, and closes them in the reverse order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from domain.ports import Bus, Stores, StoreUnavailable
from settings.bus import DatabaseBus, ValkeyServers
from settings.storage import DatabaseUrl, StorageSettings
from storage.bus.event_bus import open_event_bus
from storage.bus.postgres import PostgresWire
from storage.bus.wire import BusDown, Wire
from storage.database import Pool, open_database
from storage.island import Island, open_island
from storage.migrate import require_current
from storage.postgres.epochs import PostgresEpochs
from storage.postgres.errors import domain_errors
from storage.postgres.fleet import PostgresNodes
from storage.postgres.jobs import PostgresLeases
from storage.postgres.people.accounts import PostgresAccounts
from storage.postgres.people.devices import PostgresDevices
from storage.postgres.people.prekeys import PostgresPrekeys
from storage.postgres.people.profiles import PostgresProfiles
from storage.postgres.people.sessions import PostgresSessions
from storage.postgres.people.sign_in import PostgresSignIn
from storage.postgres.people.user_names import PostgresUserNames
from storage.postgres.pool import Timeouts, open_pool
from storage.postgres.pooler import refuse_shared_sessions
from storage.postgres.retention import PostgresRetention
from storage.postgres.schema import PostgresSchema
from storage.postgres.spending import PostgresSpending
from storage.postgres.talk.cards import PostgresCards
from storage.postgres.talk.consent import PostgresConsent
from storage.postgres.talk.conversations import PostgresConversations
from storage.postgres.talk.journal import PostgresJournal, make_commit_connections
from storage.postgres.talk.links import PostgresLinks
from storage.postgres.talk.mailbox import PostgresMailbox
from storage.postgres.transactions import Transactions
from storage.postgres.transparency import PostgresLog, ReplicaLog
from storage.postgres.trio_connection import TrioConnections

REPLICA_POOL: Final = 2
"""Connections. What is read there is read by its key."""
REPLICA_TIMEOUTS: Final = Timeouts(acquire=1.0, statement=2.0)
"""Far shorter than those of the primary, which is asked when these have passed."""


@asynccontextmanager
async def open_storage(
    config: StorageSettings, *, timeouts: Timeouts | None = None, mark: Path | None = None
) -> AsyncIterator[Stores]:
    """Connect to the database (run the embedded one, if it does not run), check its schema, and listen on the bus.

    `mark` is the file that remembers how far the database was, so that a loss is noticed.

    Raises:
        StoreUnavailable: the database cannot be reached.
        SchemaError: its schema is not the one of this program: `varde migrate`.
        ClusterError, EmbeddedPostgresError: the embedded database cannot be run.
    """
    with closing(PostgresEpochs(mark)) as epochs:
        async with _open_stores(config, timeouts, epochs) as stores:
            yield stores


@asynccontextmanager
async def _open_stores(
    config: StorageSettings, timeouts: Timeouts | None, epochs: PostgresEpochs
) -> AsyncIterator[Stores]:
    async with (
        open_database(config.database) as url,
        open_island() as island,
        open_pool(
            island, url, least=config.pool_min, most=config.pool_max, timeouts=timeouts, check=epochs.check_connection
        ) as pool,
    ):
        with domain_errors():
            await island.run(_look_at_session, pool, url)
            await island.run(require_current, pool)
        transactions = Transactions(island, pool, timeouts)
        epochs.open(transactions, url)
        await epochs.look()
        async with _open_bus(island, url, config.bus) as bus, _open_replica(island, config.replica) as replica:
            connections = make_commit_connections(island, url, timeouts or Timeouts(), check=epochs.check_connection)
            # Closed before the pool and the island: they are sockets of Trio's, which nobody else knows of.
            try:
                yield replace(_stores(transactions, connections, epochs, bus), stale_log=replica)
            finally:
                connections.close()


async def _look_at_session(pool: Pool, url: str) -> None:
    async with pool.acquire() as connection:
        await refuse_shared_sessions(connection, url)


@asynccontextmanager
async def _open_bus(island: Island, url: str, settings: DatabaseBus | ValkeyServers) -> AsyncIterator[Bus]:
    async with AsyncExitStack() as stack:
        try:
            bus = await stack.enter_async_context(open_event_bus(island, _make_wire(url, settings)))
        except BusDown as error:
            raise StoreUnavailable(f"the bus cannot be reached: {error}") from error
        yield bus


@asynccontextmanager
async def _open_replica(island: Island, replica: DatabaseUrl | None) -> AsyncIterator[ReplicaLog | None]:
    if replica is None:
        yield None
        return
    # No connection is made before somebody asks: a program starts, and runs, without its replica.
    async with open_pool(island, replica.url, least=0, most=REPLICA_POOL, timeouts=REPLICA_TIMEOUTS) as pool:
        yield ReplicaLog(Transactions(island, pool, REPLICA_TIMEOUTS))


def _make_wire(url: str, settings: DatabaseBus | ValkeyServers) -> Wire:
    if isinstance(settings, DatabaseBus):
        return PostgresWire(url)
    # Here, because a program without Valkey should not pay for it: to import the library takes a fifth of a second.
    from storage.bus.valkey import ValkeyWire  # noqa: PLC0415

    return ValkeyWire(settings)


def _stores(transactions: Transactions, connections: TrioConnections, epochs: PostgresEpochs, bus: Bus) -> Stores:
    return Stores(
        accounts=PostgresAccounts(transactions),
        sign_in=PostgresSignIn(transactions),
        sessions=PostgresSessions(transactions),
        profiles=PostgresProfiles(transactions),
        user_names=PostgresUserNames(transactions),
        devices=PostgresDevices(transactions),
        prekeys=PostgresPrekeys(transactions),
        conversations=PostgresConversations(transactions),
        consent=PostgresConsent(transactions),
        cards=PostgresCards(transactions),
        links=PostgresLinks(transactions),
        journal=PostgresJournal(transactions, connections),
        mailbox=PostgresMailbox(transactions),
        epochs=epochs,
        retention=PostgresRetention(transactions),
        leases=PostgresLeases(transactions),
        spending=PostgresSpending(transactions),
        nodes=PostgresNodes(transactions),
        schema=PostgresSchema(transactions),
        transparency=PostgresLog(transactions),
        bus=bus,
    )
