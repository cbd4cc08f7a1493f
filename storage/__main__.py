"""The command line `python -m storage`: run the embedded Postgres, print its URL, migrate a database.

Each start of a system asks for the URL and becomes Postgres by this program. Both do without what the other commands
need, which takes three times as long to import.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import click

from settings.environment import ConfigError, command_from_environ
from settings.storage import DatabaseUrl, StorageSettings
from storage.embedded.cluster import ClusterError, embedded_url, prepare_cluster
from storage.embedded.os_user import OsUserError

COMMANDS: Final = "storage.commands"
LATER: Final = ("migrate", "new-log", "node", "fleet")
"""The commands of that module, which is imported when one of them is asked for."""


class _Commands(click.Group):
    """Turns what may go wrong into one line for a person; anything else is a surprise and keeps its traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *LATER]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in LATER:
            return super().get_command(ctx, cmd_name)
        command: click.Command = import_module(COMMANDS).COMMANDS[cmd_name]
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except _expected() as error:
            raise click.ClickException(str(error)) from error


def _expected() -> tuple[type[Exception], ...]:
    later = sys.modules.get(COMMANDS)
    return (OsUserError, ClusterError, ConfigError, OSError, *(() if later is None else later.EXPECTED))


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


def _embedded_folder() -> Path:
    database = StorageSettings.from_environ(os.environ).database
    if isinstance(database, DatabaseUrl):
        raise click.UsageError("VARDE_DATABASE_URL names another Postgres; say --data to run the embedded one anyway")
    return database.folder


if __name__ == "__main__":
    main(prog_name=command_from_environ(os.environ))
