"""The commands `varde deploy`, `varde doctor` and `varde server`."""

import os
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple

import asyncpg
import click
import msgspec
import trio

from operations.backup import PROGRAM_KEYS, BackupError, Say, back_up, hand_out_keys
from operations.backup import restore as restore_backup
from operations.deploy_check import PROGRAMS, check_deployment, read_settings
from operations.doctor import Finding, Health, examine
from operations.people_commands import account, device
from settings.environment import ConfigError, read_data
from settings.storage import StorageSettings
from settings.worker import WorkerSettings
from storage import audit
from storage.embedded.cluster import ClusterError
from storage.embedded.server import EmbeddedPostgresError
from storage.key_rotation import KEY_SETS, Stage, rotate, stage_of
from storage.keys import KeyFileError, make_keys
from storage.log_key import LogKey
from varde_contract.exception_groups import ungrouped

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_RELAYS: Final = "hand out the relays' keys and restart the relays, one after the other"
_APIS: Final = "hand out the APIs' keys and restart the APIs, one after the other"
AFTER: Final = {
    "relay": {
        Stage.ANNOUNCED: f"the new keys are made. Now {_RELAYS}; they accept both. Then run this again",
        Stage.SWITCHED: f"the new keys are in use. Now {_APIS}. Run this again after 24 hours",
        Stage.SETTLED: f"the old keys are gone. Now {_RELAYS}",
    },
    "ticket": {
        Stage.ANNOUNCED: f"the new key is made. Now {_RELAYS}; they accept both. Then run this again",
        Stage.SWITCHED: f"the new key is in use. Now {_APIS}. Run this again after 25 hours",
        Stage.SETTLED: f"the old key is gone. Now {_RELAYS}",
    },
    "pepper": {
        Stage.ANNOUNCED: f"the new pepper is made. Now {_APIS}; they look under both. Then run this again",
        Stage.SWITCHED: f"the new pepper is in use. Now {_APIS}. The old one stays for who has not signed in yet",
        Stage.SETTLED: f"the old pepper is gone. Now {_APIS}",
    },
}
"""What to do after each step, before the next one."""

_folder: Final = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def deploy() -> None:
    """Check the files of a deployment, and print the settings of a program.

    Examples:
      varde deploy check
      varde deploy env deploy/env/prod.toml api
    """


@deploy.command()
@click.argument("folder", type=_folder, default="deploy")
@click.option("--strict", is_flag=True, help="A validator that is not installed is a failure, too.")
def check(folder: Path, *, strict: bool) -> None:
    """Run every validator there is over the files in FOLDER.

    Exits with 1 when one of them complains.

    Examples:
      varde deploy check
      varde deploy check /etc/varde/deploy --strict
    """
    failed = 0
    for verdict in check_deployment(folder):
        if verdict.missing is not None:
            failed += strict
            _say("not checked", verdict.what, f"install {verdict.missing}", "yellow")
        elif verdict.complaint is not None:
            failed += 1
            _say("FAILED", verdict.what, verdict.complaint, "red")
        else:
            _say("ok", verdict.what, "", "green")
    if failed:
        sys.exit(1)


@deploy.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("program", type=click.Choice(sorted(PROGRAMS)))
def env(file: Path, program: str) -> None:
    """Print the settings of PROGRAM in FILE, as systemd and containers read them.

    Examples:
      varde deploy env deploy/env/prod.toml relay > /etc/varde/relay.env
    """
    try:
        settings = read_settings(file)
    except (ConfigError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    for name, value in settings[program].items():
        click.echo(f"{name}={value}")


@click.command()
@click.option("--mail-to", metavar="ADDRESS", help="Send a test mail there.")
def doctor(mail_to: str | None) -> None:
    """Look at what a server needs: database, keys, ports, files, DNS, TLS, mail server, clocks.

    It reads the same variables as the servers. Exits with 1 when something is wrong.

    Examples:
      varde doctor
      varde doctor --mail-to you@example.org
    """
    colours = {Health.OK: "green", Health.WARNING: "yellow", Health.BAD: "red"}

    def report(finding: Finding) -> None:
        _say(finding.health, finding.what, finding.text, colours[finding.health])

    if not trio.run(examine, os.environ, mail_to, report):
        sys.exit(1)


@click.group()
def server() -> None:
    """Back a server up, restore it, change its keys, suspend accounts, and show what operators had done.

    VARDE_DATABASE_URL and VARDE_DATA name the server, as for the programs themselves.

    Examples:
      varde server backup varde.tar
      varde server keys hand-out relay relay-keys
    """


server.add_command(account)
server.add_command(device)


@server.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(file: Path) -> None:
    """Write database and keys to FILE, and restore it once aside, to see that it is whole.

    The servers may run meanwhile. FILE is as secret as the server: it holds its keys. Encrypt it before it leaves.

    Examples:
      varde server backup varde-2026-11-30.tar
    """
    _record(audit.Action.BACKUP)
    _move(back_up, file, "backed up and restored once")


@server.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(file: Path) -> None:
    """Put FILE into an empty database, and its keys into $VARDE_DATA.

    Clients notice by themselves that the server is older than they are, and send again what was lost and they hold.

    Examples:
      VARDE_DATABASE_URL=postgresql:///varde_new varde server restore varde-2026-11-30.tar
    """
    _move(restore_backup, file, "restored")
    _record(audit.Action.RESTORE)  # afterwards: before, there is no table


def _move(
    work: "Callable[[StorageSettings, Path, Say], Coroutine[Any, Any, Mapping[str, int]]]", file: Path, done: str
) -> None:
    try:
        with ungrouped():
            rows = trio.run(
                work, StorageSettings.from_environ(os.environ), file, lambda text: click.echo(f"{text} ...")
            )
    except (BackupError, ConfigError, KeyFileError, ClusterError, EmbeddedPostgresError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{done}: {len(rows)} tables, {sum(rows.values())} rows, and the keys")


@server.group()
def keys() -> None:
    """Hand out the server's keys, and change them.

    Examples:
      varde server keys hand-out relay relay-keys
      varde server keys rotate ticket
    """


@keys.command("hand-out")
@click.argument("program", type=click.Choice(sorted(PROGRAM_KEYS)))
@click.argument("folder", type=click.Path(path_type=Path))
def hand_out(program: str, folder: Path) -> None:
    """Copy the keys that PROGRAM needs into FOLDER, for a machine or container of its own.

    The keys of the server are made when there are none yet. A FOLDER that is there gets those that have changed.

    Examples:
      varde server keys hand-out relay relay-keys
    """
    data = read_data(os.environ)
    try:
        make_keys(data / "keys")
        if program == "worker":
            LogKey(data / "log", WorkerSettings.from_environ(os.environ).log_origin)
        names = hand_out_keys(data, program, folder)
    except (ConfigError, KeyFileError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{folder}: {', '.join(names)}")


@keys.command("rotate")
@click.argument("name", type=click.Choice(sorted(KEY_SETS)))
@click.option("--insist", is_flag=True, help="Remove the old key although somebody may still need it.")
def rotate_key(name: str, *, insist: bool) -> None:
    """Make the next of three steps in which the key NAME changes, and say what to do before the one after it.

    First the new key is accepted, then used, then the old one is removed. Nobody is locked out, and nothing is down.

    Examples:
      varde server keys rotate ticket
    """
    try:
        folder = read_data(os.environ) / "keys"
        before = stage_of(folder, name)
        _record(audit.Action.ROTATE_KEY, name, f"{before}{'-insist' if insist else ''}")
        stage = rotate(folder, name, time.time(), insist=insist)
    except (ConfigError, KeyFileError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{name}: {AFTER[name][stage]}")


@keys.command("list")
def list_keys() -> None:
    """Show where the change of each key stands.

    Examples:
      varde server keys list
    """
    try:
        for name in KEY_SETS:
            click.echo(f"{name:<8} {stage_of(read_data(os.environ) / 'keys', name)}")
    except (ConfigError, KeyFileError) as error:
        raise click.ClickException(str(error)) from None


@server.command("audit")
@click.option("--last", type=click.IntRange(1), default=1_000, show_default=True, help="So many entries.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each, with its hash.")
def show_audit(last: int, *, as_json: bool) -> None:
    """Show what operators had done, and whether somebody changed that since. Exits with 1 if so.

    Examples:
      varde server audit --last 20
    """
    entries = _with_database(audit.read_entries, last)
    for each in entries:
        when = f"{datetime.fromtimestamp(each.done_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S}"
        shown = f"{each.number:>6}  {when}  {each.actor:<16}  {each.action:<11}  {each.target} {each.detail}"
        click.echo(msgspec.json.encode(each) if as_json else shown.rstrip())
    broken = audit.first_broken(entries)
    if broken is not None:
        raise click.ClickException(f"entry {broken} was changed or is missing: ask who can write to the database")
    click.echo(f"{len(entries)} entries, each continues the one before", err=True)


def _record(action: audit.Action, target: str = "", detail: str = "") -> None:
    _with_database(audit.record, action, target, detail)


def _with_database(work: "Callable[[StorageSettings, *Ts], Coroutine[Any, Any, T]]", *arguments: *Ts) -> T:
    try:
        with ungrouped():
            return trio.run(work, StorageSettings.from_environ(os.environ), *arguments)
    except (ConfigError, ClusterError, EmbeddedPostgresError, OSError, asyncpg.PostgresError) as error:
        raise click.ClickException(f"the audit log cannot be used: {error}") from None


def _say(word: str, what: str, text: str, colour: str) -> None:
    click.echo(f"{click.style(f'{word:<11}', fg=colour)} {what:<20} {text.splitlines()[0] if text else ''}".rstrip())
    for line in text.splitlines()[1:]:
        click.echo(f"{'':33}{line}")
