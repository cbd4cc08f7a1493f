"""The commands `varde server account` and `varde server device`: what an operator may do to somebody."""

import hashlib
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar, TypeVarTuple
from uuid import UUID

import asyncpg
import click
import trio

from domain.people.addresses import address_digest, normal_address
from domain.ports import StoreUnavailable
from settings.environment import ConfigError, read_data
from settings.storage import StorageSettings
from storage import audit, suspension
from storage.embedded.cluster import ClusterError
from storage.embedded.server import EmbeddedPostgresError
from storage.keys import KeyFileError, read_api_keys
from storage.migrate import SchemaError
from varde_contract.exception_groups import ungrouped
from varde_contract.ids import AccountId, DeviceId

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_DIGITS: Final = 16
"""Of the digest that stands for an id in the audit log: enough to tell people apart, and no id."""
_FAULTS: Final = (
    *(ConfigError, ClusterError, EmbeddedPostgresError, KeyFileError, SchemaError),
    *(StoreUnavailable, OSError, asyncpg.PostgresError),
)
_who = click.argument("who", metavar="ADDRESS|ID")


@click.group()
def account() -> None:
    """Show an account, suspend it, and let it go on.

    An account is named by its e-mail address or its id. Addresses need the server's keys, in $VARDE_DATA.

    Examples:
      varde server account show somebody@example.org
    """


@account.command()
@_who
def show(who: str) -> None:
    """Show id, state and devices of an account.

    Examples:
      varde server account show somebody@example.org
    """
    found = _run(suspension.show_account, _account_of(who))
    if found is None:
        raise click.ClickException("there is no such account")
    state = "goes on" if found.suspended_ms is None else "is suspended"
    click.echo(f"{found.account} {state}; in the audit log {target_of(found.account)}")
    for device, _ in found.devices:
        click.echo(f"  device {device}; in the audit log {target_of(device)}")


@account.command()
@_who
def suspend(who: str) -> None:
    """End all sessions and connections of an account within a second, and let nobody sign in to it.

    Nothing is deleted. Messages to it wait as for somebody who is away.

    Examples:
      varde server account suspend somebody@example.org
    """
    chosen = _account_of(who)
    _run(audit.record, audit.Action.SUSPEND, target_of(chosen), "")
    if not _run(suspension.suspend_account, chosen):
        raise click.ClickException("there is no such account")
    click.echo("suspended; its devices are cut off within a second")


@account.command()
@_who
def resume(who: str) -> None:
    """Let people sign in to a suspended account again. Its devices sign in anew, and have what waited for them.

    Examples:
      varde server account resume somebody@example.org
    """
    chosen = _account_of(who)
    _run(audit.record, audit.Action.SUSPEND, target_of(chosen), "ended")
    if not _run(suspension.resume_account, chosen):
        raise click.ClickException("it is not suspended")
    click.echo("it may sign in again")


@click.group()
def device() -> None:
    """Refuse a device.

    Examples:
      varde server device revoke 0192f3d0-1111-7000-8000-000000000001
    """


@device.command()
@click.argument("identifier", metavar="ID", type=click.UUID)
def revoke(identifier: UUID) -> None:
    """Cut a device off within a second, and refuse it for ever. This cannot be taken back.

    It stays in its owner's list, which only the owner's devices can sign: the server refuses to serve it, and others
    go on encrypting for it until its owner removes it.

    Examples:
      varde server device revoke 0192f3d0-1111-7000-8000-000000000001
    """
    chosen = DeviceId(identifier)
    _run(audit.record, audit.Action.REVOKE, target_of(chosen), "")
    if not _run(suspension.revoke_device, chosen):
        raise click.ClickException("there is no such device")
    click.echo("revoked; it is cut off within a second")


def target_of(identifier: UUID) -> str:
    """Return what stands in the audit log for an id: whoever has the id finds the entry, and not the other way."""
    return hashlib.sha256(str(identifier).encode()).hexdigest()[:_DIGITS]


def _account_of(who: str) -> AccountId:
    if "@" not in who:
        try:
            return AccountId(UUID(who))
        except ValueError:
            raise click.ClickException("name an account by its e-mail address or its id") from None
    try:
        keys = read_api_keys(read_data(os.environ) / "keys")
    except (ConfigError, KeyFileError) as error:
        raise click.ClickException(str(error)) from None
    digests = [address_digest(pepper, normal_address(who)) for pepper in (keys.pepper, *keys.other_peppers)]
    found = _run(suspension.find_account, digests)
    if found is None:
        raise click.ClickException("nobody has signed up with this address")
    return found


def _run(work: "Callable[[StorageSettings, *Ts], Coroutine[Any, Any, T]]", *arguments: *Ts) -> T:
    try:
        with ungrouped():
            return trio.run(work, StorageSettings.from_environ(os.environ), *arguments)
    except _FAULTS as error:
        raise click.ClickException(str(error) or type(error).__name__) from None
