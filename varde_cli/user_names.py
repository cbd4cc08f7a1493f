"""`varde username` and `varde find`: the optional name that others find somebody by."""

import click

import varde
from varde_cli.names import Names
from varde_cli.options import Home, home_options
from varde_cli.output import json_option, print_json
from varde_cli.run import run_connected

as_option = click.option("--as", "as_profile", metavar="MODE", help="Of this profile of yours: PRIVAT, JOBB.")


@click.group()
def username() -> None:
    """A name by which others find you, if you want one.

    3 to 32 of a-z, 0-9, '.' and '_'. Only who knows the whole name finds you, as `varde found-by` allows; there is no
    list of names, and the server keeps a keyed hash. It is not your display name, which the server cannot read.

    Examples:
      varde username set ola.nordmann
      varde username remove
      varde find kari_n
    """


@username.command("set")
@click.argument("name")
@as_option
@home_options()
def set_name(home: Home, name: str, *, as_profile: str | None) -> None:
    """Be found by NAME, in place of the name that you had.

    Nobody else gets the one before for 30 days.
    """

    async def run(client: varde.Client) -> None:
        await client.set_user_name(name, as_profile=Names(client).own_profile(as_profile))
        click.echo(f"Others find you with: varde find {name}")

    run_connected(home, run)


@username.command("show")
@as_option
@home_options()
def show_name(home: Home, *, as_profile: str | None) -> None:
    """Show the name that this device set last."""

    async def run(client: varde.Client) -> None:
        name = client.user_name(as_profile=Names(client).own_profile(as_profile))
        click.echo(name or "No user name was set on this device.")

    run_connected(home, run)


@username.command("remove")
@as_option
@home_options()
def remove_name(home: Home, *, as_profile: str | None) -> None:
    """Be found by no name."""

    async def run(client: varde.Client) -> None:
        await client.remove_user_name(as_profile=Names(client).own_profile(as_profile))

    run_connected(home, run)


@click.command()
@click.argument("name")
@click.option("--save", metavar="CONTACT", help="Keep who is found as a contact of this name, on this device.")
@json_option
@home_options()
def find(home: Home, name: str, *, save: str | None, as_json: bool) -> None:
    """Look who has the user name NAME, which must be whole.

    It is the server that says who it is: compare safety numbers with `varde verify`. A link says it by itself.

    Example:
      varde find kari_n --save kari
    """

    async def run(client: varde.Client) -> None:
        found = await client.find_user_name(name)
        if save is not None:
            client.contacts.add(save, found)
        if as_json:
            print_json({"profile": found})
        else:
            click.echo(f"Found. Write to them with: varde chat {save or '@' + name.removeprefix('@')}")

    run_connected(home, run)
