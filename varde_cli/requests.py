"""`varde requests` and what one answers them with; `varde block`, and who may ask at all."""

from contextlib import suppress

import click

import varde
from varde_cli.names import Names, find_profile, in_conversation, pick, short
from varde_cli.options import Home, home_options
from varde_cli.output import json_option, print_json, print_table, printable
from varde_cli.run import Failure, run_connected
from varde_contract.ids import AccountId
from varde_contract.people import FoundBy


@click.command()
@json_option
@home_options()
def requests(home: Home, *, as_json: bool) -> None:
    """List who wants to write to you.

    They are told nothing before you accept. A request is named by who asks, or by the letters that are shown of it.

    Examples:
      varde requests
      varde accept bob
      varde decline 1d2c3f
    """

    async def run(client: varde.Client) -> None:
        names, found = Names(client), await client.requests()
        if as_json:
            print_json(found)
        elif found:
            rows = (
                (short(each.conversation), each.kind.value, names.of(each.invited_by), printable(each.text or ""))
                for each in found
            )
            print_table(("CONVERSATION", "KIND", "FROM", "SAYS"), rows)
        else:
            click.echo("Nobody waits for an answer.")

    run_connected(home, run)


@click.command()
@in_conversation()
async def accept(_: varde.Client, conversation: varde.Conversation) -> None:
    """Accept a request: from now on what is written there is for you, too.

    Examples:
      varde accept bob
      varde accept 1d2c3f
    """
    await conversation.accept()


@click.command()
@in_conversation()
async def decline(_: varde.Client, conversation: varde.Conversation) -> None:
    """Decline a request.

    Example:
      varde decline 1d2c3f
    """
    await conversation.decline()


@click.command()
@click.argument("who")
@home_options()
def block(home: Home, who: str) -> None:
    """Block WHO: a contact, a user name with an @, or a request.

    You see nothing any more of what they ask, and the conversation of you two is left. They are not told, but they see
    that you left. In groups that you both are in nothing changes.

    Examples:
      varde block 1d2c3f
      varde blocked
      varde unblock bob
    """

    async def run(client: varde.Client) -> None:
        account = await _account(client, who)
        await client.block(account)
        click.echo(f"blocked account {account}")

    run_connected(home, run)


@click.command()
@click.argument("who")
@home_options()
def unblock(home: Home, who: str) -> None:
    """Block WHO no longer: a contact, a user name with an @, or the end of an account of `varde blocked`.

    Example:
      varde unblock bob
    """

    async def run(client: varde.Client) -> None:
        try:
            account = pick(who, await client.blocked(), "account")
        except Failure:
            account = await _account(client, who)
        await client.unblock(account)

    run_connected(home, run)


@click.command()
@json_option
@home_options()
def blocked(home: Home, *, as_json: bool) -> None:
    """List the accounts that you have blocked.

    Example:
      varde blocked
    """

    async def run(client: varde.Client) -> None:
        found = await client.blocked()
        if as_json:
            print_json(found)
        else:
            click.echo("\n".join(map(str, found)) or "You have blocked nobody.")

    run_connected(home, run)


@click.command("found-by")
@click.argument("whom", required=False, type=click.Choice([each.value for each in FoundBy]))
@click.option("--as", "as_profile", metavar="MODE", help="For this profile of yours: PRIVAT, JOBB or its address.")
@home_options()
def found_by(home: Home, whom: str | None, *, as_profile: str | None) -> None:
    """Show or set who may ask you into a conversation.

    everyone: who knows your address or user name. shared: who is in a conversation with you already. nobody: you ask,
    and nobody else. To all others it is as if you did not exist. Requests that wait stay. Who has a link to you
    (`varde invite`) may ask in any case.

    Examples:
      varde found-by
      varde found-by shared
      varde found-by nobody --as PRIVAT
    """

    async def run(client: varde.Client) -> None:
        profile = Names(client).own_profile(as_profile)
        if whom is not None:
            await client.set_found_by(whom, as_profile=profile)
        click.echo((await client.found_by(as_profile=profile)).value)

    run_connected(home, run)


async def _account(client: varde.Client, who: str) -> AccountId:
    # Who asks may be nobody that this device can find otherwise: the request itself says whose it is.
    asked = {request.conversation: request.account for request in await client.requests()}
    with suppress(Failure):
        return asked[pick(who, asked, "request")]
    return await client.account_of(await find_profile(client, who))
