"""`varde contacts` and `varde verify`: local names for people, and their safety numbers."""

from uuid import UUID

import click

import varde
from varde_cli.names import Names, check_name, open_conversation
from varde_cli.options import Home, ListByDefault, home_options
from varde_cli.output import json_option, print_json, print_table
from varde_cli.run import Failure, run_connected
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

    async def run(client: varde.Client) -> None:
        known = dict(sorted(client.contacts.all().items()))
        if as_json:
            print_json(known)
        elif known:
            print_table(("NAME", "ADDRESS"), ((name, str(profile)) for name, profile in known.items()))
        else:
            click.echo("No contacts yet. Add one with: varde contacts add <name> <address>")

    run_connected(home, run)


@contacts.command()
@click.argument("name")
@click.argument("address", type=click.UUID)
@home_options()
def add(home: Home, name: str, address: UUID) -> None:
    """Let NAME stand for ADDRESS from now on."""

    async def run(client: varde.Client) -> None:
        client.contacts.add(check_name(name), ProfileId(address))

    run_connected(home, run)


@contacts.command()
@click.argument("name")
@home_options()
def remove(home: Home, name: str) -> None:
    """Forget NAME. Conversations stay as they are."""

    async def run(client: varde.Client) -> None:
        if not client.contacts.remove(name):
            raise Failure(f"there is no contact named '{name}'", "`varde contacts` lists them")

    run_connected(home, run)


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

    async def run(client: varde.Client) -> None:
        names = Names(client)
        conversation = await open_conversation(client, names, who)
        for member in conversation.members:
            if not names.is_mine(member.profile):
                groups = client.safety_number(member.account).split()
                click.echo(f"The safety number of you and {names.of(member.profile)}:\n")
                for start in range(0, len(groups), 4):
                    click.secho("    " + " ".join(groups[start : start + 4]), bold=True)

    run_connected(home, run)
