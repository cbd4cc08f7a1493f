"""`varde invite` and `varde join`: links to people and groups, made, shown as QR codes, revoked and used."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
import trio

import varde
from varde.store.store import STORE_NAME
from varde_cli.names import Names, find_conversation, short
from varde_cli.options import Home, ListByDefault, home_options
from varde_cli.output import format_time, json_option, print_json, print_table
from varde_cli.qr import show_qr, write_png
from varde_cli.run import Failure, run_connected
from varde_cli.streams import read_line
from varde_contract.limits import LINK_USES
from varde_contract.links import GroupLink, Link, LinkFault, PersonLink, parse_link

_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_TIME: Final = re.compile(r"([1-9][0-9]{0,3})([mhdw])", re.ASCII)
_ACCEPTANCE: Final = 2.0
"""Seconds to wait for the other side's client, which accepts by itself where it runs."""


class Duration(click.ParamType):  # type: ignore[type-arg] # generic to the type checker alone
    """A time from now on: a number, and m, h, d or w."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it."""
        found = _TIME.fullmatch(str(value))
        if found is None:
            self.fail("Give a number and m, h, d or w: 30m, 12h, 7d, 4w.", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


png_option = click.option(
    "--png", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the QR code into a picture."
)


@click.group(cls=ListByDefault)
def invite() -> None:
    """Links that lead to you, or into a group: whoever has one may use it.

    Send it over a way that you trust, or show it as a QR code. Who asks by a link to you is accepted while Varde runs
    on this device, and neither of you has to believe the server who the other is.

    Examples:
      varde invite create
      varde invite create --group Choir --uses 20 --expires 2w --png choir.png
      varde invite
      varde invite revoke 1f2e3d4c
    """


@invite.command()
@click.option("--group", "group", metavar="GROUP", help="Into this group; without it the link leads to you.")
@click.option(
    "--uses", type=click.IntRange(1, LINK_USES), default=1, show_default=True, metavar="N", help="For so many people."
)
@click.option(
    "--expires", type=Duration(), default="7d", show_default=True, metavar="TIME", help="How long it is good: 12h, 7d."
)
@png_option
@click.option("--as", "as_profile", metavar="MODE", help="To this profile of yours: PRIVAT, JOBB.")
@json_option
@home_options()
def create(
    home: Home,
    *,
    group: str | None,
    uses: int,
    expires: timedelta,
    png: Path | None,
    as_profile: str | None,
    as_json: bool,
) -> None:
    """Make a link, and show it as text and as a QR code.

    Examples:
      varde invite create
      varde invite create --uses 5 --expires 12h --png me.png
    """
    end = datetime.now(UTC) + expires

    async def run(client: varde.Client) -> Link:
        names = Names(client)
        if group is not None:
            return await (await find_conversation(client, group)).make_link(end, uses=uses)
        return await client.make_link(end, uses=uses, as_profile=names.own_profile(as_profile))

    link = run_connected(home, run)
    if png is not None:
        write_png(link.url, png)
    if as_json:
        print_json({"url": link.url, "uses": uses, "expires": end})
        return
    click.echo(link.url)
    show_qr(link.url)
    people = "one person" if uses == 1 else f"{uses} people"
    click.echo(f"For {people}, until {format_time(end)}. Whoever has it can use it.", err=True)


@invite.command("list")
@json_option
@home_options()
def list_invites(home: Home, *, as_json: bool) -> None:
    """List the links that somebody can still use."""

    async def run(client: varde.Client) -> None:
        found = await client.links()
        if as_json:
            print_json(found)
        elif found:
            rows = ((each.code, _leads_to(each), str(each.uses), format_time(each.expires)) for each in found)
            print_table(("CODE", "LEADS TO", "LEFT", "UNTIL"), rows)
        else:
            click.echo("No link of yours can be used. Make one with: varde invite create")

    run_connected(home, run)


@invite.command()
@click.argument("code")
@png_option
@home_options()
def show(home: Home, code: str, *, png: Path | None) -> None:
    """Show a link of `varde invite` again, which was made on this device.

    Example:
      varde invite show 1f2e3d4c --png me.png
    """

    async def run(client: varde.Client) -> str:
        for each in await client.links():
            if each.code == code.lower() and each.url is not None:
                return each.url
        raise Failure(f"no link '{code}' was made on this device", "`varde invite` lists them")

    url = run_connected(home, run)
    if png is not None:
        write_png(url, png)
    click.echo(url)
    show_qr(url)


@invite.command()
@click.argument("code")
@home_options()
def revoke(home: Home, code: str) -> None:
    """Let nobody come by a link any more. Who came already stays.

    Example:
      varde invite revoke 1f2e3d4c
    """

    async def run(client: varde.Client) -> None:
        gone = await client.revoke_link(code)
        click.echo(f"revoked {gone.code}, which led to {_leads_to(gone)}")

    run_connected(home, run)


@click.command()
@click.argument("link", required=False)
@click.option("--as", "as_profile", metavar="MODE", help="Come as this profile of yours: PRIVAT, JOBB.")
@click.option("--name", metavar="NAME", help="What you call the person from now on, on this device.")
@click.option("--same-server", is_flag=True, help="The link has another address, of the server that you use.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@home_options()
def join(
    home: Home,
    link: str | None,
    *,
    as_profile: str | None,
    name: str | None,
    same_server: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Use a LINK that you were given: come into its group, or ask its person, who then accepts.

    Without LINK it is asked for, and with '-' read from standard input: so it is in no list of processes and in no
    history of a shell.

    Examples:
      varde join 'https://chat.example.org/i#AQE...'
      varde join - < link.txt
    """
    text = _given(link)
    try:
        parsed = parse_link(text)
    except LinkFault as fault:
        raise Failure(str(fault), "copy the whole link once more") from None
    what = "into a group" if isinstance(parsed, GroupLink) else "to a person"
    # Before anybody is asked: who has no device here is told how to get one at the link's server. The store is not
    # opened for that: another program may have it, and runs this then.
    if not (home.folder / STORE_NAME).exists():
        advice = f"sign up first: varde signup --api {parsed.origin}"
        raise Failure("there is no device in this home folder yet", advice)
    if not yes:
        click.confirm(f"The link leads {what} at {parsed.origin}. Use it?", abort=True, err=True)

    async def run(client: varde.Client) -> tuple[varde.Conversation, bool]:
        names = Names(client)
        checked = client.parse_link(text, same_server=same_server)
        conversation = await client.use_link(checked, as_profile=names.own_profile(as_profile))
        if name is not None and isinstance(checked, PersonLink):
            client.contacts.add(name, checked.profile)
        with trio.move_on_after(_ACCEPTANCE):
            await conversation.wait_accepted()
        return conversation, conversation.waiting

    conversation, waits = run_connected(home, run)
    if as_json:
        print_json({"conversation": conversation.id, "waits": waits})
    elif waits:
        click.echo("asked. They accept as soon as Varde runs on the device that made the link.")
    else:
        click.echo("you are in. See `varde conversations`, and write with `varde chat`.")


def _given(link: str | None) -> str:
    if link == "-":
        return read_line().strip()
    return link or str(click.prompt("The link", err=True))


def _leads_to(link: varde.LinkInfo) -> str:
    return "you" if link.conversation is None else f"group {short(link.conversation)}"
