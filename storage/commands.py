"""The commands of `python -m storage` that work on a database: `migrate`, `new-log`, `node` and `fleet`."""

import os
from datetime import UTC, datetime
from typing import Final

import asyncpg
import click
import trio

from domain.ports import StoreUnavailable
from settings.storage import DatabaseUrl, EmbeddedDatabase, StorageSettings
from settings.worker import WorkerSettings
from storage.audit import Action, record
from storage.database import open_database
from storage.embedded.server import EmbeddedPostgresError
from storage.fleet_command import fleet, node
from storage.grants import grant_rights
from storage.island import open_island
from storage.migrate import Migration, SchemaError, migrate, read_migrations
from storage.postgres.transparency import begin_log_anew

EXPECTED: Final = (EmbeddedPostgresError, SchemaError, asyncpg.PostgresError, StoreUnavailable)
"""Told in one line, beside what any command here may raise."""
CONNECTING_DEADLINE: Final = 30.0  # seconds


@click.command("migrate")
def migrate_command() -> None:
    """Bring the database's schema up to this version of Varde.

    Plain SQL files are applied in order, each in a transaction of its own. Two of these at once wait for each other,
    and a second run changes nothing. Stop the servers first only if a release says so.

    Of the database users varde_relay, varde_api and varde_worker, each that exists is then given what its program
    needs. Run it as the owner of the database, and again when you have made one of them.
    """
    trio.run(_migrate, StorageSettings.from_environ(os.environ))


@click.command("new-log")
@click.confirmation_option(prompt="Clients stop until each person has run `varde log forget`. Begin a new log?")
def new_log() -> None:
    """Begin a new transparency log, because entries that clients have seen are lost for good.

    Stop all workers first. Every device list that is stored is put into the new log. The folder with the old key stays
    beside the new one, renamed: it can still show what was signed. Then tell people why.
    """
    settings, data = StorageSettings.from_environ(os.environ), WorkerSettings.from_environ(os.environ).data
    trio.run(record, settings, Action.NEW_LOG)
    # The database first. After a crash in between, the old key remembers more than the log has, and signs nothing.
    queued = trio.run(_begin_log, settings.database)
    if queued is None:
        raise click.ClickException("a worker may still be signing: stop all of them, and try again in a minute")
    folder = data / "log"
    if folder.exists():
        ended = data / f"log.ended-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        folder.rename(ended)
        click.echo(f"the old log's key is kept in {ended}")
    click.echo(f"{queued} device lists wait for the new log; start the workers")


async def _begin_log(database: EmbeddedDatabase | DatabaseUrl) -> int | None:
    async with open_database(database) as url, open_island() as island:
        connection = await island.run(asyncpg.connect, url)
        try:
            return await island.run(begin_log_anew, connection)
        finally:
            await island.run(connection.close)


async def _migrate(settings: StorageSettings) -> None:
    async with open_database(settings.database) as url, open_island() as island:
        applied, users = await island.run(_connect_and_migrate, url)
        if applied:  # afterwards: the table comes with a migration
            await record(settings, Action.MIGRATE, f"{len(read_migrations()):04}")
    for migration in applied:
        click.echo(f"applied {migration}")
    if users:
        click.echo(f"granted to {', '.join(users)} what each needs")
    click.echo(f"the database is at {len(read_migrations()):04}" + ("" if applied else "; there was nothing to do"))


async def _connect_and_migrate(url: str) -> tuple[tuple[Migration, ...], tuple[str, ...]]:
    try:
        connection = await asyncpg.connect(url, timeout=CONNECTING_DEADLINE)
    except OSError as error:  # a TimeoutError, too; neither text holds the URL
        raise click.ClickException(f"the database cannot be reached: {str(error) or 'no answer'}") from error
    try:
        return await migrate(connection), await grant_rights(connection)
    finally:
        await connection.close()


COMMANDS: Final[dict[str, click.Command]] = {
    "migrate": migrate_command,
    "new-log": new_log,
    "node": node,
    "fleet": fleet,
}
