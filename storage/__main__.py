"""The command line `python -m storage`: run the embedded Postgres, print its URL, migrate a database."""

import os
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import click
import trio

from domain.ports import StoreUnavailable
from settings.environment import ConfigError, command_from_environ
from settings.storage import DatabaseUrl, EmbeddedDatabase, StorageSettings
from settings.worker import WorkerSettings
from storage.audit import Action, record
from storage.database import open_database
from storage.embedded.cluster import ClusterError, embedded_url, prepare_cluster
from storage.embedded.os_user import OsUserError
from storage.embedded.server import EmbeddedPostgresError
from storage.fleet_command import fleet, node
from storage.grants import grant_rights
from storage.island import open_island
from storage.migrate import Migration, SchemaError, migrate, read_migrations
from storage.postgres.transparency import begin_log_anew

EXPECTED = (
    OsUserError,
    ClusterError,
    ConfigError,
    EmbeddedPostgresError,
    SchemaError,
    OSError,
    asyncpg.PostgresError,
    StoreUnavailable,
)
CONNECTING_DEADLINE = 30.0  # seconds


class _Commands(click.Group):
    """Turns what may go wrong into one line for a person; anything else is a surprise and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except EXPECTED as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run and prepare the database of Varde.

    VARDE_DATABASE_URL names a PostgreSQL 15 or newer. Without it, Varde uses its own, embedded one, which keeps
    everything in the folder $VARDE_DATA/postgres (VARDE_DATA is .varde unless set).
    """


@main.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Use this folder instead.")
def postgres(data: Path | None) -> None:
    """Run the embedded PostgreSQL in the foreground.

    The cluster is made on the first run. Then this process becomes Postgres itself: it logs to standard error, stops
    on SIGINT (fast: clients are disconnected) or SIGTERM (when they have gone), and can be reached through a Unix
    socket only, by its own user and by root.
    """
    prepare_cluster(data or _embedded_folder()).become()


@main.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Use this folder instead.")
def url(data: Path | None) -> None:
    """Print the URL of the embedded PostgreSQL, whether it runs or not: a value for VARDE_DATABASE_URL."""
    click.echo(embedded_url(data or _embedded_folder()))


@main.command("migrate")
def migrate_command() -> None:
    """Bring the database's schema up to this version of Varde.

    Plain SQL files are applied in order, each in a transaction of its own. Two of these at once wait for each other,
    and a second run changes nothing. Stop the servers first only if a release says so.

    Of the database users varde_relay, varde_api and varde_worker, each that exists is then given what its program
    needs. Run it as the owner of the database, and again when you have made one of them.
    """
    trio.run(_migrate, StorageSettings.from_environ(os.environ))


@main.command("new-log")
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


def _embedded_folder() -> Path:
    database = StorageSettings.from_environ(os.environ).database
    if isinstance(database, DatabaseUrl):
        raise click.UsageError("VARDE_DATABASE_URL names another Postgres; say --data to run the embedded one anyway")
    return database.folder


main.add_command(node)
main.add_command(fleet)

if __name__ == "__main__":
    main(prog_name=command_from_environ(os.environ))
