"""`varde conversations` and `varde group`: which conversations there are, and who is in a group."""

import click

import varde
from varde_cli.names import Names, find_profile, in_conversation, load_members, short
from varde_cli.options import Home, home_options
from varde_cli.output import format_time, json_option, print_json, print_table, printable
from varde_cli.rpc import methods
from varde_cli.rpc.table import Nothing
from varde_cli.run import run_connected
from varde_contract.talk import Role

_PREVIEW = 40


@click.command()
@json_option
@home_options()
def conversations(home: Home, *, as_json: bool) -> None:
    """List your conversations.

    Example:
      varde conversations
    """

    async def run(client: varde.Client) -> None:
        found = await methods.conversations(client, Nothing())
        if as_json:
            print_json(found)
        elif found:
            print_table(("CONVERSATION", "KIND", "WITH", "UNREAD", "LAST"), map(_row, found))
        else:
            click.echo("No conversations yet. Begin one with: varde invite create, or varde join <a link>")

    run_connected(home, run)


def _row(chat: methods.Chat) -> tuple[str, str, str, str, str]:
    first, *_ = printable(chat.last).split("\n")
    last = "" if chat.time is None else f"{format_time(chat.time)} {first[:_PREVIEW]}"
    return short(chat.id), chat.kind.value, printable(chat.name), str(chat.unread or ""), last


@click.group()
def group() -> None:
    """Groups: make one, and say who is in it.

    Examples:
      varde group create alice bob carol
      varde group invite 1d2c3f dave
      varde chat 1d2c3f
    """


@group.command()
@click.argument("people", nargs=-1, required=True)
@click.option("--as", "as_profile", metavar="MODE", help="Make it as this profile of yours.")
@home_options()
def create(home: Home, people: tuple[str, ...], *, as_profile: str | None) -> None:
    """Make a group, invite PEOPLE (contacts, or user names with an @) into it, and print its id."""

    async def run(client: varde.Client) -> None:
        names = Names(client)
        members = [await find_profile(client, each) for each in people]
        made = await client.open_group(members, as_profile=names.own_profile(as_profile))
        click.echo(str(made.id))

    run_connected(home, run)


@group.command()
@in_conversation("GROUP")
@click.argument("who")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.MEMBER.value,
    show_default=True,
    help="What they may do: an owner everything, an admin add and remove members, a member write.",
)
async def invite(client: varde.Client, conversation: varde.Conversation, who: str, *, role: str) -> None:
    """Invite WHO. They get what is written after they have accepted."""
    await conversation.invite(await find_profile(client, who), role=Role(role))


@group.command()
@in_conversation("GROUP")
@click.argument("who")
async def remove(client: varde.Client, conversation: varde.Conversation, who: str) -> None:
    """Remove WHO. What is written from now on stays unknown to them."""
    await conversation.remove(await find_profile(client, who))


@click.command()
@in_conversation()
async def leave(_: varde.Client, conversation: varde.Conversation) -> None:
    """Leave a group or a conversation of two. Its messages stay on this device.

    Example:
      varde leave 1d2c3f
    """
    await conversation.leave()


@click.command()
@in_conversation()
@json_option
async def members(client: varde.Client, conversation: varde.Conversation, *, as_json: bool) -> None:
    """List who is in a conversation, and who is invited.

    Example:
      varde members bob
    """
    names, found = Names(client), await load_members(conversation, fresh=True)
    if as_json:
        print_json({"members": found.members, "invited": found.invited})
        return
    rows = [(names.of(each.profile), each.role.value, str(each.profile)) for each in found.members]
    rows += [(names.of(each), "invited", str(each)) for each in found.invited]
    print_table(("WHO", "ROLE", "ADDRESS"), rows)
