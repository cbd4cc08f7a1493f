"""`varde devices` and `varde sessions`: the account's devices, where it is signed in, and ending either."""

from uuid import UUID

import click

import varde
from varde_cli.options import Home, ListByDefault, home_options
from varde_cli.output import format_time, json_option, print_json, print_table
from varde_cli.run import run_connected
from varde_contract.ids import DeviceId, SessionId


@click.group(cls=ListByDefault)
def devices() -> None:
    """The devices of your account.

    Examples:
      varde devices
      varde devices revoke 0192f0c1-7b3e-7c55-9d1a-0e4b7e1d2c3f
    """


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
        names = {profile.id: profile.type.value for profile in client.identity.profiles}
        print_table(
            ("DEVICE", "SINCE", "FOR", ""),
            (
                (
                    str(each.certificate.device),
                    format_time(each.created_at),
                    ", ".join(names.get(profile, "?") for profile in each.profiles),
                    "this one" if each.current else "",
                )
                for each in found
            ),
        )

    run_connected(home, run)


@devices.command("revoke")
@click.argument("device", type=click.UUID)
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_options()
def revoke_device(home: Home, device: UUID, *, yes: bool) -> None:
    """Take a device away for ever, for example one that was lost.

    It is cut off within a second, and what waits for it is deleted. Messages that it holds already stay on it.
    """
    if not yes:
        click.confirm(f"Revoke {device} for ever?", abort=True)

    async def run(client: varde.Client) -> None:
        await client.revoke_device(DeviceId(device))

    run_connected(home, run)
    click.echo("Revoked.")


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
