"""`varde chat`: the options, and which kind of chat is opened."""

import asyncio
import os
import sys

import click

from varde_cli.options import Home, home_options


@click.command()
@click.argument("who", required=False)
@click.option("--as", "as_profile", metavar="MODE", help="Write as this profile of yours: PRIVAT, JOBB or its address.")
@home_options()
def chat(home: Home, who: str | None, *, as_profile: str | None) -> int:
    """Chat on the whole screen: conversations beside messages, until Ctrl-D.

    WHO is a contact's name, a user name with an @, the end of a conversation's id as `varde conversations` shows it, or
    `self` for notes to yourself. Without it, choose from the list: arrow keys and Enter, or type a part of the name.

    Enter sends, Alt-Enter begins a new line. Up selects a message: r replies, + reacts, e edits, d deletes, t shows the
    thread. PageUp goes back, Ctrl-F searches, Esc leaves whatever is open, Ctrl-R connects now. /help lists commands;
    a message that begins with a slash is written with two. What you write while offline is kept and sent later.

    With a pipe instead of a terminal, or TERM=dumb, lines are read and printed: every line is sent, and the end of the
    input ends the chat.

    Examples:
      varde chat
      varde chat bob
      varde chat @kari_n
      echo "on my way" | varde chat bob
    """
    # Only here: the screen's library takes a tenth of a second to import, which no other command shall wait for.
    from varde_cli.chat.owner import open_owner  # noqa: PLC0415

    root = click.get_current_context().find_root().command
    assert isinstance(root, click.Group)
    whole_screen = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    # The owner of a home divides the standard streams between the commands that it runs. These are the chat's.
    keyboard, out = sys.stdin, sys.stdout

    async def run() -> int:
        async with open_owner(home, root) as remote:
            if whole_screen:
                from prompt_toolkit.input import create_input  # noqa: PLC0415
                from prompt_toolkit.output import create_output  # noqa: PLC0415

                from varde_cli.chat.application import Screen  # noqa: PLC0415

                return await Screen(remote, create_input(keyboard), create_output(out)).run(who, as_profile)
            from varde_cli.chat.plain import PlainChat  # noqa: PLC0415

            return await PlainChat(remote, out).run(who, as_profile)

    return asyncio.run(run())
