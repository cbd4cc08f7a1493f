"""`varde devices` and `varde sessions`: the account's devices, where it is signed in, and ending either."""

import functools
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

import click

import varde
from varde.events import at
from varde_cli.names import Names, pick, short
from varde_cli.options import Home, ListByDefault, home_options
from varde_cli.output import format_time, json_option, print_json, print_table
from varde_cli.recovery_phrase import ask_phrase
from varde_cli.run import run_connected
from varde_contract.ids import DeviceId

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(cls=ListByDefault)
def devices() -> None:
    """The devices of your account: one list, signed by a manager among them or with your recovery phrase.

    Examples:
      varde devices
      varde devices add <the code that a new device shows>
      varde devices revoke 1d2c3f
      varde devices until 1d2c3f 2027-01-31
    """


def phrase_option(command: Command) -> Command:
    """Add --phrase, for what this device may not sign."""
    return click.option("--phrase", is_flag=True, help="Sign with the recovery phrase, which is asked for.")(command)


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
                    short(each.device),
                    format_time(each.created_at),
                    ", ".join(names.get(profile, "?") for profile in each.profiles),
                    "" if each.valid_until is None else format_time(each.valid_until),
                    "yes" if each.device in managers else "",
                    "this one" if each.current else "",
                )
                for each in found
            ),
        )
        for each in await client.sessions():
            if each.device is None:
                click.echo(
                    f"\nSomebody has signed in ({format_time(each.created_at)}) and waits to be added: "
                    "varde devices add <the code that is shown there>. "
                    f"If that is not you: varde sessions revoke {short(each.session)}"
                )
        pending = None if newest is None else newest.pending_root
        if pending is not None:
            click.echo(
                f"\nA new recovery phrase is announced, and works from {format_time(at(pending.effective_ms))} on. "
                "If that was not you: varde phrase cancel"
            )

    run_connected(home, run)


def _changes_device(action: Callable[..., Awaitable[str]]) -> Callable[..., None]:
    """Make a change of one device a command: it is given the client, the device, the phrase, and the rest.

    What it returns is told.
    """

    @click.argument("device")
    @phrase_option
    @home_options()
    @functools.wraps(action)
    def command(home: Home, device: str, *, phrase: bool, **given: Any) -> None:
        words = ask_phrase() if phrase else None

        async def run(client: varde.Client) -> str:
            found = pick(device, [each.device for each in await client.devices()], "device")
            return await action(client, found, words, **given)

        click.echo(run_connected(home, run))

    return command


@devices.command("revoke")
@click.confirmation_option(prompt="Revoke it for ever?", help="Do not ask.")
@_changes_device
async def revoke_device(client: varde.Client, device: DeviceId, words: str | None) -> str:
    """Take a device away for ever, for example one that was lost.

    It is cut off within a second, and what waits for it is deleted. Messages that it holds already stay on it.
    """
    await client.own_list.revoke(device, words)
    return "Revoked."


@devices.command("manager")
@_changes_device
@click.option("--on/--off", default=True, help="Whether it may.  [default: on]")
async def set_manager(client: varde.Client, device: DeviceId, words: str | None, *, on: bool) -> str:
    """Let a device change the list of devices, or no more."""
    await client.own_list.set_manager(device, on, words)
    return "It is a manager." if on else "It is no manager."


@devices.command("until")
@_changes_device
@click.argument("end", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), required=False)
async def set_end(client: varde.Client, device: DeviceId, words: str | None, end: datetime | None) -> str:
    """Let a device end by itself at a time, or without a time never."""
    await client.own_list.set_valid_until(device, None if end is None else end.astimezone(), words)
    return "It does not end by itself." if end is None else f"It ends at {format_time(end.astimezone())}."


@devices.command("profiles")
@_changes_device
@click.argument("profiles", nargs=-1, required=True)
async def set_profiles(client: varde.Client, device: DeviceId, words: str | None, profiles: tuple[str, ...]) -> str:
    """Let a device receive for these modes of yours (PRIVAT, JOBB), and no others."""
    found = [own for each in profiles if (own := Names(client).own_profile(each)) is not None]
    await client.own_list.set_profiles(device, found, words)
    return "Changed."


@devices.command("add")
@click.argument("code")
@click.confirmation_option(prompt="Is this code from a device of yours, which you have before you?", help="Do not ask.")
@home_options()
def add_device(home: Home, code: str) -> None:
    """Add the device that shows CODE: it ran `varde login --by-manager`. This device must be a manager.

    The new one gets what is written from now on. Whoever has talked you into pasting a code would get that, too.
    """
    # Nothing of the code is shown for comparison: it cannot be made for another history, nor ask for more.
    added = run_connected(home, lambda client: client.own_list.add(code))
    click.echo(f"Added {added.device}. It is no manager: `varde devices manager` makes it one.")


@click.group(cls=ListByDefault)
def sessions() -> None:
    """Where your account is signed in.

    Examples:
      varde sessions
      varde sessions revoke 1d2c3f
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
                    short(each.session),
                    format_time(each.created_at),
                    format_time(each.refreshed_at),
                    "none" if each.device is None else short(each.device),
                    "this one" if each.current else "",
                )
                for each in found
            ),
        )

    run_connected(home, run)


@sessions.command("revoke")
@click.argument("session")
@home_options()
def revoke_session(home: Home, session: str) -> None:
    """End a session; its device stays, and comes back with `varde login` there."""

    async def run(client: varde.Client) -> None:
        await client.end_session(pick(session, [each.session for each in await client.sessions()], "session"))

    run_connected(home, run)
    click.echo("Ended.")
