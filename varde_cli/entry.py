"""The entry point of `varde`: every command in its family, and one fence around all of them.

What a command does is in the file of its family.
"""

import inspect
import os
import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import click

from varde_cli import account, chat, contacts, conversations, demo, devices, groups, messages, sessions, system
from varde_cli.called import program_name
from varde_cli.exits import EXIT_CODES, run_fenced

FAMILIES: Final[dict[str, tuple[click.Command, ...]]] = {
    "Run the system on this machine": (system.up, demo.demo, system.migrate, system.relay, system.api),
    "You and your devices": (
        *(account.signup, account.login, account.whoami, devices.devices, sessions.sessions, account.logout),
    ),
    "People and conversations": (*(contacts.contacts, contacts.verify, conversations.conversations, groups.group),),
    "Talk": (chat.chat, messages.send, messages.listen),
}


class _Families(click.Group):
    """Lists the commands family by family, in the order in which one meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [str(command.name) for family in FAMILIES.values() for command in family]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        room = formatter.width - 6 - max(len(name) for name in self.commands)
        for title, family in FAMILIES.items():
            with formatter.section(title):
                formatter.write_dl([(str(each.name), each.get_short_help_str(room)) for each in family])


def _version() -> str:
    try:
        return version("varde")
    except PackageNotFoundError:
        # A checkout that is run as it is: the project's own file says it.
        project = Path(__file__).parents[1] / "pyproject.toml"
        return str(tomllib.loads(project.read_text())["project"]["version"])


@click.group(
    cls=_Families,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(_version(), prog_name="varde", message="%(prog)s %(version)s")
def varde() -> None:
    """Talk end-to-end encrypted, or run the system that lets others.

    A first chat, in three terminals:
      varde up
      varde signup --home /tmp/alice --email alice@example.org
      varde signup --home /tmp/bob --email bob@example.org
    and then, with the address that bob's sign-up has printed:
      varde chat --home /tmp/bob
      varde chat --home /tmp/alice <bob's address>
    """


def _keep_lines(command: click.Command) -> None:
    """Let click print paragraphs with indented lines, the examples, as they are written."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(f"\b\n{each}" if "\n  " in each else each for each in paragraphs)
    for part in command.commands.values() if isinstance(command, click.Group) else ():
        _keep_lines(part)


for _family in FAMILIES.values():
    for _command in _family:
        varde.add_command(_command)
_keep_lines(varde)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_fenced(lambda: varde.main(words, prog_name=program_name(), standalone_mode=False), os.environ)
