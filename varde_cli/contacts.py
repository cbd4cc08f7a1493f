"""`varde contacts` and `varde verify`: local names for people, and their safety numbers."""

import click

import varde
from varde_cli.names import Names, check_name, find_profile, open_conversation
from varde_cli.options import Home, ListByDefault, home_options
from varde_cli.output import format_time, json_option, print_json, print_table, printable
from varde_cli.run import Failure, run_connected


@click.group(cls=ListByDefault)
def contacts() -> None:
    """Names that you give people, kept on this device only.

    Examples:
      varde contacts
      varde contacts add bob @bob.nordmann
      varde contacts add bob 1d2c3f
      varde contacts cards
      varde contacts accept kari
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
            names = Names(client)
            by = {each: client.contacts.vouched_by(each) for each in known.values()}
            vouched = {each: "" if who is None else names.of(who) for each, who in by.items()}
            rows = ((name, str(profile), vouched[profile]) for name, profile in known.items())
            print_table(("NAME", "ADDRESS", "VOUCHED FOR BY"), rows)
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
@json_option
@home_options()
def cards(home: Home, *, as_json: bool) -> None:
    """List the contact cards that others passed on to you."""

    async def run(client: varde.Client) -> None:
        names, found = Names(client), client.shared_contacts()
        if as_json:
            print_json(found)
        elif found:
            rows = ((printable(each.name), names.of(each.profile), format_time(each.received)) for each in found)
            print_table(("NAME", "VOUCHED FOR BY", "SINCE"), rows)
            click.echo("\nKeep one with: varde contacts accept <name>")
        else:
            click.echo("Nobody has passed a contact on to you.")

    run_connected(home, run)


@contacts.command()
@click.argument("card")
@click.option("--from", "sender", metavar="WHO", help="The card from this one, where several have the name.")
@click.option("--as", "name", metavar="NAME", help="What you call them; otherwise what the card says.")
@home_options()
def accept(home: Home, card: str, *, sender: str | None, name: str | None) -> None:
    """Keep somebody as a contact whom others passed on: CARD is the name in `varde contacts cards`.

    The card says who they are, and who sent it vouches for that; the server is not believed.

    Example:
      varde contacts accept kari
    """

    async def run(client: varde.Client) -> None:
        who = None if sender is None else await find_profile(client, sender)
        found = [each for each in client.shared_contacts() if each.name == card and who in {None, each.profile}]
        people = {(each.contact, each.root_hash) for each in found}
        if len(people) != 1:
            what = "several cards have" if people else "no card has"
            raise Failure(f"{what} the name '{card}'", "`varde contacts cards` lists them; --from says whose")
        newest = found[-1]
        try:
            await client.add_shared_contact(newest, None if name is None else check_name(name))
        except ValueError as fault:
            raise Failure(str(fault), "choose another one with --as") from None
        click.echo(f"{name or newest.name} is a contact, vouched for by {Names(client).of(newest.profile)}")

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
