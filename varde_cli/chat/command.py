"""`varde chat`: the options, and which conversation is opened."""

import os
import sys

import click

import varde
from varde.events import Message
from varde_cli.chat.slash_commands import run_slash_command
from varde_cli.chat.terminal import LineInput, Screen, open_input
from varde_cli.chat.view import ChatView
from varde_cli.names import Names, open_conversation
from varde_cli.options import Home, home_options
from varde_cli.run import Failure, run_client
from varde_contract.ids import ConversationId


@click.command()
@click.argument("who", required=False)
@click.option("--as", "as_profile", metavar="MODE", help="Write as this profile of yours: PRIVAT, JOBB or its address.")
@home_options()
def chat(home: Home, who: str | None, *, as_profile: str | None) -> None:
    """Chat: history first, then live, until Ctrl-D or /quit.

    WHO is a contact's name, a user name with an @, the end of a conversation's id as `varde conversations` shows it, or
    `self` for notes to yourself. Without it, your only conversation is opened; when there is none yet, the first that
    somebody begins with you.

    What you write while offline is kept and sent later. With piped input every line is sent, and the end of the input
    ends the chat.

    Examples:
      varde chat bob
      varde chat @kari_n
      echo "on my way" | varde chat bob
    """
    live = sys.stdin.isatty() and sys.stdout.isatty()

    async def run(line_input: LineInput) -> None:
        screen = Screen(sys.stdout, line_input, live=live, colour=live and "NO_COLOR" not in os.environ)
        async with varde.connect(home.folder, home.unlock) as client:
            names = Names(client)
            conversation = await _choose(client, names, screen, who, as_profile)
            await ChatView(client, conversation, names, screen, run_slash_command).run(line_input)

    with open_input() as line_input:
        run_client(lambda: run(line_input))


async def _choose(
    client: varde.Client, names: Names, screen: Screen, who: str | None, as_profile: str | None
) -> varde.Conversation:
    if who is not None:
        return await open_conversation(client, names, who, as_profile)
    known = await client.conversations()
    if len(known) > 1:
        raise Failure("there are several conversations", "name one; `varde conversations` lists them")
    if known:
        return known[0]
    screen.line("Nobody has written to you yet. Give people a link of `varde invite create`, or an address:", bold=True)
    for profile in client.identity.profiles:
        screen.line(f"    {profile.id}  ({profile.type})")
    return client.conversation(await _wait_first(client))


async def _wait_first(client: varde.Client) -> ConversationId:
    # No deadline: a person waits for a person, and Ctrl-C ends it.
    async for event in client.events():
        if isinstance(event, Message):
            return event.conversation
    raise AssertionError("events end with an error only")
