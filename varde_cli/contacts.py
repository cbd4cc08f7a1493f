"""`varde contacts` and `varde verify`: local names for people, and their safety numbers."""

import click

import varde
from varde_cli.names import Names, check_name, find_profile, open_conversation
from varde_cli.options import Home, ListByDefault, home_options
from varde_cli.output import json_option, print_json, print_table
from varde_cli.run import Failure, run_connected


@click.group(cls=ListByDefault)
def contacts() -> None:
    """Names that you give people, kept on this device only.

    Examples:
      varde contacts
      varde contacts add bob @bob.nordmann
      varde contacts add bob 1d2c3f
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
            click.echo("No contacts yet. Make a link with varde invite create, or use one with varde join.")

    run_connected(home, run)


@contacts.command()
@click.argument("name")
@click.argument("who")
@home_options()
def add(home: Home, name: str, who: str) -> None:
    """Let NAME stand for WHO from now on.

    WHO is a user name with an @, another name of theirs, the end of the address of somebody you are in a conversation
    with, as it is shown in place of a name, or the whole address.
    """

    async def run(client: varde.Client) -> None:
        client.contacts.add(check_name(name), await find_profile(client, who))

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
