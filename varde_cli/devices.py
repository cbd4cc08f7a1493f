"""`varde devices` and `varde sessions`: the account's devices, where it is signed in, and ending either."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import click

import varde
from varde_cli.options import Home, ListByDefault, home_options
from varde_cli.output import format_time, json_option, print_json, print_phrase, print_table
from varde_cli.run import run_connected
from varde_contract.ids import DeviceId, ProfileId, SessionId

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(cls=ListByDefault)
def devices() -> None:
    """The devices of your account: one list, signed by a manager among them or with your recovery phrase.

    Examples:
      varde devices
      varde devices revoke 0192f0c1-7b3e-7c55-9d1a-0e4b7e1d2c3f
      varde devices until 0192f0c1-7b3e-7c55-9d1a-0e4b7e1d2c3f 2027-01-31
    """


def phrase_option(command: Command) -> Command:
    """Add --phrase, for what this device may not sign."""
    return click.option("--phrase", is_flag=True, help="Sign with the recovery phrase, which is asked for.")(command)


def ask_phrase(*, wanted: bool) -> str | None:
    """Ask for the recovery phrase, where it is wanted."""
    return str(click.prompt("Recovery phrase", hide_input=True, err=True)) if wanted else None


@devices.command("list")
@json_option
@home_options()
def list_devices(home: Home, *, as_json: bool) -> None:
    """List them."""

    async def run(client: varde.Client) -> None:
        found = await client.devices()
        if as_json:
            print_json(found)
            return
        await client.own_list.refresh()
        newest = client.own_list.newest()
        names = {profile.id: profile.type.value for profile in client.identity.profiles}
        managers = {each.device for each in newest.devices if each.manager} if newest is not None else set()
        print_table(
            ("DEVICE", "SINCE", "FOR", "UNTIL", "MANAGER", ""),
            (
                (
                    str(each.device),
                    format_time(each.created_at),
                    ", ".join(names.get(profile, "?") for profile in each.profiles),
                    "" if each.valid_until is None else format_time(each.valid_until),
                    "yes" if each.device in managers else "",
                    "this one" if each.current else "",
                )
                for each in found
            ),
        )

    run_connected(home, run)


@devices.command("revoke")
@click.argument("device", type=click.UUID)
@click.option("--yes", is_flag=True, help="Do not ask.")
@phrase_option
@home_options()
def revoke_device(home: Home, device: UUID, *, yes: bool, phrase: bool) -> None:
    """Take a device away for ever, for example one that was lost.

    It is cut off within a second, and what waits for it is deleted. Messages that it holds already stay on it.
    """
    if not yes:
        click.confirm(f"Revoke {device} for ever?", abort=True)
    words = ask_phrase(wanted=phrase)

    async def run(client: varde.Client) -> None:
        await client.revoke_device(DeviceId(device), recovery_phrase=words)

    run_connected(home, run)
    click.echo("Revoked.")


@devices.command("manager")
@click.argument("device", type=click.UUID)
@click.option("--on/--off", default=True, help="Whether it may.  [default: on]")
@phrase_option
@home_options()
def set_manager(home: Home, device: UUID, *, on: bool, phrase: bool) -> None:
    """Let a device change the list of devices, or no more."""
    words = ask_phrase(wanted=phrase)

    async def run(client: varde.Client) -> None:
        await client.own_list.set_manager(DeviceId(device), on, words)

    run_connected(home, run)
    click.echo("It is a manager." if on else "It is no manager.")


@devices.command("until")
@click.argument("device", type=click.UUID)
@click.argument("end", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), required=False)
@phrase_option
@home_options()
def set_end(home: Home, device: UUID, end: datetime | None, *, phrase: bool) -> None:
    """Let a device end by itself at a time, or without a time never."""
    words = ask_phrase(wanted=phrase)

    async def run(client: varde.Client) -> None:
        await client.own_list.set_valid_until(DeviceId(device), None if end is None else end.astimezone(), words)

    run_connected(home, run)
    click.echo("It does not end by itself." if end is None else f"It ends at {format_time(end.astimezone())}.")


@devices.command("profiles")
@click.argument("device", type=click.UUID)
@click.argument("profiles", type=click.UUID, nargs=-1, required=True)
@phrase_option
@home_options()
def set_profiles(home: Home, device: UUID, profiles: tuple[UUID, ...], *, phrase: bool) -> None:
    """Let a device receive for these of your addresses, and no others."""
    words = ask_phrase(wanted=phrase)

    async def run(client: varde.Client) -> None:
        await client.own_list.set_profiles(DeviceId(device), [ProfileId(profile) for profile in profiles], words)

    run_connected(home, run)
    click.echo("Changed.")


@devices.command("new-phrase")
@home_options()
def new_phrase(home: Home) -> None:
    """Replace the recovery phrase, for example one that somebody may have read. The old one signs that."""
    words = ask_phrase(wanted=True)
    assert words is not None
    made: list[str] = []

    async def run(client: varde.Client) -> None:
        made.append(await client.own_list.change_recovery_phrase(words))

    run_connected(home, run)
    print_phrase(made[0])


@click.group(cls=ListByDefault)
def sessions() -> None:
    """Where your account is signed in.

    Examples:
      varde sessions
      varde sessions revoke 0192f0c1-7b3e-7c55-9d1a-0e4b7e1d2c3f
    """


@sessions.command("list")
@json_option
@home_options()
def list_sessions(home: Home, *, as_json: bool) -> None:
    """List them."""

    async def run(client: varde.Client) -> None:
        found = await client.sessions()
        if as_json:
            print_json(found)
            return
        print_table(
            ("SESSION", "SINCE", "REFRESHED", "DEVICE", ""),
            (
                (
                    str(each.session),
                    format_time(each.created_at),
                    format_time(each.refreshed_at),
                    str(each.device or "none"),
                    "this one" if each.current else "",
                )
                for each in found
            ),
        )

    run_connected(home, run)


@sessions.command("revoke")
@click.argument("session", type=click.UUID)
@home_options()
def revoke_session(home: Home, session: UUID) -> None:
    """End a session; its device stays, and comes back with `varde login` there."""

    async def run(client: varde.Client) -> None:
        await client.end_session(SessionId(session))

    run_connected(home, run)
    click.echo("Ended.")
