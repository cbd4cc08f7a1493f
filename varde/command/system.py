"""`varde up`, and the programs of the house one by one: migrate, relay, api.

The servers' code is not imported: they are programs of their own.
"""

import os
import sys
from pathlib import Path
from typing import Final, NoReturn

import click
import trio

from varde.command.called import program_name
from varde.supervisor.house import House
from varde.supervisor.settings import API_BIND, DATA, RELAY_BIND, HouseSettings
from varde.supervisor.up import run_up
from varde.supervisor.voice import Voice

CLIENT_API_URL: Final = f"http://{API_BIND}"


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help=f"Everything the system keeps lies here.  [$VARDE_DATA; default: {DATA}]",
)
@click.option("--api-bind", metavar="HOST:PORT", help=f"[$VARDE_API_BIND; default: {API_BIND}; port 0: a free one]")
@click.option("--relay-bind", metavar="HOST:PORT", help=f"[$VARDE_RELAY_BIND; default: {RELAY_BIND}]")
@click.option("--quiet", "-q", is_flag=True, help="Only what happens to the programs, not what they say.")
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write addresses and process numbers there, as JSON, when all is ready and after each restart.",
)
def up(
    data: Path | None, api_bind: str | None, relay_bind: str | None, *, quiet: bool, ready_file: Path | None
) -> None:
    """Run Postgres, API and relay here, until Ctrl-C.

    Each is a process of its own. One that dies is started again, with growing delays. Ctrl-C (or SIGTERM) stops them
    in order, a second one at once. The data stays, and the next `varde up` finds it again.

    With VARDE_DATABASE_URL no Postgres is started and that one is used.

    Examples:
      varde up
      varde up --data /srv/varde --api-bind 0.0.0.0:8400 --relay-bind 0.0.0.0:8401
      varde up --api-bind 127.0.0.1:0 --relay-bind 127.0.0.1:0 --ready-file up.json
    """
    settings = HouseSettings.from_environ(os.environ, data=data, api_bind=api_bind, relay_bind=relay_bind)
    voice = Voice(sys.stdout, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ, quiet=quiet)
    trio.run(lambda: run_up(settings, voice, welcome=_welcome, ready_file=ready_file))


def _welcome(house: House) -> str:
    api = "" if house.api_url == CLIENT_API_URL else f" --api {house.api_url}"
    program = program_name()
    return f"""
Varde is up.
    API     {house.api_url}
    relay   {house.relay_url}
    data    {house.data}

Try in another terminal:
    {program} signup{api} --email you@example.org
    {program} chat

Ctrl-C stops everything; the data stays."""


def _become(module: str, arguments: tuple[str, ...]) -> NoReturn:
    """Turn this process into that program: same process number, same signals."""
    os.execv(sys.executable, (sys.executable, "-m", module, *arguments))  # noqa: S606 - our own program, and no shell


_PASS_ON: Final = {"ignore_unknown_options": True, "help_option_names": []}
_arguments = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)


@click.command(context_settings=_PASS_ON)
@_arguments
def migrate(arguments: tuple[str, ...]) -> None:
    """Bring the database's schema up to this version."""
    _become("storage", ("migrate", *arguments))


@click.command(context_settings=_PASS_ON)
@_arguments
def relay(arguments: tuple[str, ...]) -> None:
    """Run the relay alone, in the foreground."""
    _become("relay", arguments)


@click.command(context_settings=_PASS_ON)
@_arguments
def api(arguments: tuple[str, ...]) -> None:
    """Run the API alone, in the foreground."""
    _become("api", arguments)
