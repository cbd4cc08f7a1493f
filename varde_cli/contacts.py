"""`varde contacts` and `varde verify`: names for people, and making sure that they are who they seem to be.

No name leaves this device.
"""

from uuid import UUID

import click

import varde
from varde_cli.exits import Failure
from varde_cli.home import Home, home_options
from varde_cli.listing import ListByDefault
from varde_cli.naming import Names, check_name, open_conversation
from varde_cli.running import run_client
from varde_cli.showing import json_option, print_json, print_table
from varde_contract.ids import ProfileId


@click.group(cls=ListByDefault)
def contacts() -> None:
    """Names for people's addresses, kept on this device only.

    Examples:
      varde contacts
      varde contacts add bob 0192f0c1-7b3e-7c55-9d1a-0e4b7e1d2c3f
      varde contacts remove bob
    """


@contacts.command("list")
@json_option
@home_options()
def list_contacts(home: Home, *, as_json: bool) -> None:
    """List them."""

    async def run() -> None:
        async with varde.connect(home.folder, home.unlock) as client:
            known = dict(sorted(client.contacts.all().items()))
            if as_json:
                print_json(known)
            elif known:
                print_table(("NAME", "ADDRESS"), ((name, str(profile)) for name, profile in known.items()))
            else:
                click.echo("No contacts yet. Add one with: varde contacts add <name> <address>")

    run_client(run)


@contacts.command()
@click.argument("name")
@click.argument("address", type=click.UUID)
@home_options()
def add(home: Home, name: str, address: UUID) -> None:
    """Let NAME stand for ADDRESS from now on."""

    async def run() -> None:
        async with varde.connect(home.folder, home.unlock) as client:
            client.contacts.add(check_name(name), ProfileId(address))

    run_client(run)


@contacts.command()
@click.argument("name")
@home_options()
def remove(home: Home, name: str) -> None:
    """Forget NAME. Conversations stay as they are."""

    async def run() -> None:
        async with varde.connect(home.folder, home.unlock) as client:
            if not client.contacts.remove(name):
                raise Failure(f"there is no contact named '{name}'", "`varde contacts` lists them")

    run_client(run)


@click.command()
@click.argument("who")
@home_options()
def verify(home: Home, who: str) -> None:
    """Show the safety number that you share with somebody.

    Read it to each other over another way: the phone, or when you meet. If both of you see the same digits, nobody
    stands between you, not even the server.

    Example:
      varde verify bob
    """

    async def run() -> None:
        async with varde.connect(home.folder, home.unlock) as client:
            names = Names(client)
            conversation = await open_conversation(client, names, who)
            for member in conversation.members:
                if not names.is_mine(member.profile):
                    groups = client.safety_number(member.account).split()
                    click.echo(f"The safety number of you and {names.of(member.profile)}:\n")
                    for start in range(0, len(groups), 4):
                        click.secho("    " + " ".join(groups[start : start + 4]), bold=True)

    run_client(run)
