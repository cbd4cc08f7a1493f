"""`varde conversations`: what there is to talk in.

Nothing is made or changed here: `groups.py` and `chat.py` do that.
"""

import click

import varde
from varde_cli.home import Home, home_options
from varde_cli.naming import Names
from varde_cli.running import run_client
from varde_cli.showing import json_option, plain, print_json, print_table, when

_PREVIEW = 40


@click.command()
@json_option
@home_options()
def conversations(home: Home, *, as_json: bool) -> None:
    """List your conversations.

    Example:
      varde conversations
    """

    async def run() -> None:
        async with varde.connect(home.folder, home.unlock) as client:
            names, found = Names(client), await client.conversations()
            if as_json:
                print_json([{"id": each.id, "kind": each.kind, "members": each.members} for each in found])
            elif found:
                print_table(("CONVERSATION", "KIND", "WITH", "LAST"), (_row(names, each) for each in found))
            else:
                click.echo("No conversations yet. Begin one with: varde chat <somebody's address>")

    run_client(run)


def _row(names: Names, conversation: varde.Conversation) -> tuple[str, str, str, str]:
    others = [names.of(each.profile) for each in conversation.members if not names.is_mine(each.profile)]
    last = "".join(
        f"{when(message.written)} {plain(message.text).splitlines()[0][:_PREVIEW]}"
        for message in conversation.history(limit=1)
    )
    return str(conversation.id), conversation.kind.value, ", ".join(others) or "yourself", last
