"""The commands that `varde-server` adds to `varde`: `up`, which runs everything, and each program by itself."""

import gc
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

import click
import trio

from settings.environment import CALLED_AS, ConfigError
from supervisor.authority import fingerprint_of
from supervisor.data_lock import FolderInUse
from supervisor.fleet import Fleet
from supervisor.foreground import run_fleet, run_up
from supervisor.log_output import LogOutput
from supervisor.settings import API_BIND, DATA, RELAY_BIND, SystemSettings
from supervisor.supervised import StartFailed, explain
from supervisor.system import System
from varde_cli.account import DEFAULT_API_URL
from varde_cli.output import program_name
from varde_cli.run import Failure

UP_DRAIN: Final = "0"
"""Seconds for clients to go. All nodes end together, so there is no other one to go to, and a person waits."""
WORKERS_MAX: Final = 256
SPREADS: Final = sys.platform == "linux"
"""Whether the kernel spreads connections over the programs that listen on one address."""


class _Workers(click.ParamType):  # type: ignore[type-arg]  # generic in its stubs only
    """How many processes: a number, or `auto` for one on each core that this process may use."""

    name = "N|auto"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        text = str(value)
        if text == "auto":
            return len(os.sched_getaffinity(0)) if SPREADS else 1
        if not (text.isascii() and text.isdigit() and 0 < int(text) <= WORKERS_MAX):
            self.fail(f"'{text}' is neither a number from 1 to {WORKERS_MAX} nor auto", param, ctx)
        if int(text) > 1 and not SPREADS:
            self.fail("several workers need Linux: other kernels do not spread connections over them", param, ctx)
        return int(text)


_workers = _Workers()


@contextmanager
def failures_in_words() -> Iterator[None]:
    """Turn what the supervisor raises into what `varde` shows to a person."""
    try:
        yield
    except StartFailed as error:
        raise Failure(explain(error)) from error
    except (FolderInUse, ConfigError) as error:
        raise Failure(str(error)) from error


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help=f"Everything the system keeps lies here.  [$VARDE_DATA; default: {DATA}]",
)
@click.option("--api-bind", metavar="HOST:PORT", help=f"[$VARDE_API_BIND; default: {API_BIND}; port 0: a free one]")
@click.option("--relay-bind", metavar="HOST:PORT", help=f"[$VARDE_RELAY_BIND; default: {RELAY_BIND}]")
@click.option("--relay-workers", type=_workers, default=1, metavar="N|auto", help="Relay processes.  [default: 1]")
@click.option(
    "--public",
    metavar="NAME",
    help="Let other machines in, with TLS, under this name or address. A certificate is made unless one is given.",
)
@click.option(
    "--certificate",
    nargs=2,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="CHAIN KEY",
    help="A certificate of your own for that name: two files (PEM).",
)
@click.option("--quiet", "-q", is_flag=True, help="Show what a program says only when it crashes.")
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write addresses and process numbers there, as JSON, when all is ready and after each restart.",
)
def up(
    data: Path | None,
    api_bind: str | None,
    relay_bind: str | None,
    *,
    relay_workers: int,
    public: str | None,
    certificate: tuple[Path, Path] | None,
    quiet: bool,
    ready_file: Path | None,
) -> None:
    """Run Postgres, relay, API and worker here, until Ctrl-C.

    Each is a process of its own. One that dies is started again, with growing delays. Ctrl-C (or SIGTERM) stops them
    in order, a second one at once. The data stays, and the next `varde up` finds it again.

    With VARDE_DATABASE_URL no Postgres is started and that one is used.

    Examples:
      varde up
      varde up --data /srv/varde --public chat.example.org
      varde up --public 192.168.1.20
      varde up --api-bind 127.0.0.1:0 --relay-bind 127.0.0.1:0 --ready-file up.json
    """
    if ready_file is not None and not ready_file.absolute().parent.is_dir():
        raise click.UsageError(f"There is no folder {ready_file.absolute().parent} to write {ready_file.name} into.")
    log = LogOutput(sys.stdout, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ, quiet=quiet)
    with failures_in_words():
        environ = {"VARDE_RELAY_DRAIN_SECONDS": UP_DRAIN, **os.environ}
        settings = SystemSettings.from_environ(
            environ,
            data=data,
            api_bind=api_bind,
            relay_bind=relay_bind,
            relay_workers=relay_workers,
            public=public,
            certificate=certificate,
            together=True,
        )
        trio.run(lambda: run_up(settings, log, welcome=_welcome, ready_file=ready_file))
        gc.freeze()  # as in `storage.program`: somebody waits for the prompt


def _welcome(system: System) -> str:
    api = "" if system.api_url == DEFAULT_API_URL else f" --api {system.api_url}"
    program = program_name()
    trust = ""
    if system.authority is not None:
        program = f"SSL_CERT_FILE={shlex.quote(str(system.authority))} {program}"
        trust = f"""
Other machines trust this system once they have a copy of
    {system.authority}
and name it in SSL_CERT_FILE, as below. Compare it there:  openssl x509 -noout -fingerprint -sha256 -in authority.pem
    {fingerprint_of(system.authority)}
"""
    codes = "go out by mail" if system.outbox is None else f"come to lie in {system.outbox}: there is no mail server"
    return f"""
Varde is up.
    API     {system.api_url}
    relay   {system.relay_url}
    data    {system.data}
    codes   {codes}
{trust}
Try in another terminal:
    {program} signup{api} --email you@example.org
    {program} chat

Ctrl-C stops everything; the data stays."""


def _become(module: str, arguments: tuple[str, ...], called_as: str) -> NoReturn:
    """Turn this process into that program: same process number, same signals."""
    # Its help says how it was called. Not by the first argument: from that, Python finds out where it is installed.
    environ = {**os.environ, CALLED_AS: called_as}
    command = (sys.executable, "-m", module, *arguments)
    os.execve(sys.executable, command, environ)  # noqa: S606 - our own program, and no shell


_PASS_ON: Final = {"ignore_unknown_options": True, "help_option_names": []}
_arguments = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)


@click.command(context_settings=_PASS_ON)
@_arguments
def migrate(arguments: tuple[str, ...]) -> None:
    """Bring the database's schema up to this version."""
    _become("storage", ("migrate", *arguments), program_name())


@click.command()
@click.option("--workers", type=_workers, default=1, metavar="N|auto", help="Relay processes.  [default: 1]")
@click.option("--quiet", "-q", is_flag=True, help="Show what one of several says only when it crashes.")
def relay(*, workers: int, quiet: bool) -> None:
    """Run the relay alone, in the foreground.

    With several workers, each is a node of its own, and all listen on the same address: the kernel spreads new
    connections over them. One that dies is started again, with growing delays. SIGTERM (or Ctrl-C) drains all of
    them, a second one kills. SIGHUP has them read their certificates again.

    Everything else is told by the environment: `python -m relay --help` says how.

    Examples:
      varde relay
      varde relay --workers 4
      varde relay --workers auto --quiet
    """
    if workers == 1:
        _become("relay", (), f"{program_name()} relay")
    log = LogOutput(sys.stderr, colour=sys.stderr.isatty() and "NO_COLOR" not in os.environ, quiet=quiet)
    with failures_in_words():
        settings = SystemSettings.from_environ(os.environ, relay_workers=workers)
        trio.run(run_fleet, settings, log, _announce)


def _announce(fleet: Fleet) -> None:
    """Say that all are ready, as one relay says it of itself."""
    click.echo(json.dumps({"ready": "relay", "address": fleet.address, "workers": len(fleet.workers)}))


@click.command(context_settings=_PASS_ON)
@_arguments
def api(arguments: tuple[str, ...]) -> None:
    """Run the API alone, in the foreground."""
    _become("api", arguments, f"{program_name()} api")


@click.command(context_settings=_PASS_ON)
@_arguments
def node(arguments: tuple[str, ...]) -> None:
    """List the relay nodes, drain one, or have it shed connections."""
    _become("storage", ("node", *arguments), program_name())


@click.command(context_settings=_PASS_ON)
@_arguments
def fleet(arguments: tuple[str, ...]) -> None:
    """Watch all relay nodes in a live table: `fleet status`."""
    _become("storage", ("fleet", *arguments), program_name())


@click.command(context_settings=_PASS_ON)
@_arguments
def worker(arguments: tuple[str, ...]) -> None:
    """Run a worker alone, in the foreground: it does what nobody waits for, such as deleting what is old."""
    _become("worker", arguments, f"{program_name()} worker")
