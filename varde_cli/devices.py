"""`varde devices`: the devices of the account, and taking one away.

Sessions are in `sessions.py`.
"""

from uuid import UUID

import click

import varde
from varde_cli.home import Home, home_options
from varde_cli.listing import ListByDefault
from varde_cli.running import run_client
from varde_cli.showing import json_option, print_json, print_table, when
from varde_contract.ids import DeviceId


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

    async def run() -> None:
        async with varde.connect(home.folder, home.unlock) as client:
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
                        when(each.created_at),
                        ", ".join(names.get(profile, "?") for profile in each.profiles),
                        "this one" if each.current else "",
                    )
                    for each in found
                ),
            )

    run_client(run)


@devices.command()
@click.argument("device", type=click.UUID)
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_options()
def revoke(home: Home, device: UUID, *, yes: bool) -> None:
    """Take a device away for ever, for example one that was lost.

    It is cut off within a second, and what waits for it is deleted. Messages that it holds already stay on it.
    """
    if not yes:
        click.confirm(f"Revoke {device} for ever?", abort=True)

    async def run() -> None:
        async with varde.connect(home.folder, home.unlock) as client:
            await client.revoke_device(DeviceId(device))

    run_client(run)
    click.echo("Revoked.")
