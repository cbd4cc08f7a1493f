"""`varde sessions`: where the account is signed in, and ending a session.

Devices are in `devices.py`.
"""

from uuid import UUID

import click

import varde
from varde_cli.home import Home, home_options
from varde_cli.listing import ListByDefault
from varde_cli.running import run_client
from varde_cli.showing import json_option, print_json, print_table, when
from varde_contract.ids import SessionId


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

    async def run() -> None:
        async with varde.connect(home.folder, home.unlock) as client:
            found = await client.sessions()
            if as_json:
                print_json(found)
                return
            print_table(
                ("SESSION", "SINCE", "REFRESHED", "DEVICE", ""),
                (
                    (
                        str(each.session),
                        when(each.created_at),
                        when(each.refreshed_at),
                        str(each.device or "none"),
                        "this one" if each.current else "",
                    )
                    for each in found
                ),
            )

    run_client(run)


@sessions.command()
@click.argument("session", type=click.UUID)
@home_options()
def revoke(home: Home, session: UUID) -> None:
    """End a session; its device stays, and comes back with `varde login` there."""

    async def run() -> None:
        async with varde.connect(home.folder, home.unlock) as client:
            await client.end_session(SessionId(session))

    run_client(run)
    click.echo("Ended.")
