"""The entry point of `varde`: every command in its family. Whatever a command raises ends in `run_command`.

The client's commands are in this package. Other distributions add theirs through the entry points `varde.commands`:
the name is the command's, the object a `click.Command`. `varde-server` does so.
"""

import inspect
import os
import stat
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points, version
from typing import Final, NoReturn

import click

from varde_cli import (
    account,
    contacts,
    conversations,
    daemon,
    devices,
    invite,
    messages,
    phrase,
    requests,
    search,
    transparency,
    user_names,
)
from varde_cli.chat import command as chat
from varde_cli.output import program_name
from varde_cli.run import EXIT_CODES, Failure, run_command
from varde_cli.streams import prepare_streams, record_prompts

GROUP: Final = "varde.commands"
SERVER: Final = "Run the system on this machine"
OTHERS: Final = "From other distributions"
SERVER_COMMANDS: Final = (
    *("up", "demo", "migrate", "relay", "api", "worker"),
    *("node", "fleet", "server", "doctor", "deploy"),
)
"""What `varde-server` adds, in the order of the help. A client alone knows the names, to say where they come from."""

FAMILIES: Final[dict[str, tuple[click.Command, ...]]] = {
    "You and your devices": (
        *(account.signup, account.login, account.whoami, devices.devices, phrase.phrase),
        *(devices.sessions, account.logout),
    ),
    "People and conversations": (
        *(invite.invite, invite.join, user_names.username, user_names.find),
        *(contacts.contacts, contacts.verify, conversations.conversations, conversations.group),
        *(requests.block, requests.unblock, requests.blocked, requests.found_by),
    ),
    "Talk": (
        *(chat.chat, messages.send, messages.listen, search.search, daemon.daemon),
        *(requests.requests, requests.accept, requests.decline),
        *(conversations.members, conversations.leave),
    ),
    "Check the server": (transparency.log, transparency.audit_command, transparency.witness),
}


class CommandLine(click.Group):
    """The commands of this package and those of plug-ins.

    A plug-in is imported when its command runs or is listed, so the client starts no slower beside a server, and one
    that is broken breaks nothing else.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name all, in the order in which one meets them."""
        return [*_plug_ins(), *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one; for one of a server that is not installed, a command that says so."""
        if (own := super().get_command(ctx, cmd_name)) is not None:
            return own
        if (plug_in := _plug_ins().get(cmd_name)) is not None:
            return _load(plug_in)
        return _failing(cmd_name, *_NO_SERVER) if cmd_name in SERVER_COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them family by family."""
        plug_ins = _plug_ins()
        families = {
            SERVER: [name for name in plug_ins if name in SERVER_COMMANDS],
            **{title: [str(command.name) for command in family] for title, family in FAMILIES.items()},
            OTHERS: [name for name in plug_ins if name not in SERVER_COMMANDS],
        }
        width = formatter.width - 6 - max(map(len, self.list_commands(ctx)))
        for title, names in families.items():
            commands = [(name, each) for name in names if (each := self.get_command(ctx, name)) is not None]
            if commands:
                with formatter.section(title):
                    formatter.write_dl([(name, each.get_short_help_str(width)) for name, each in commands])
            elif title == SERVER:
                with formatter.section(title):
                    formatter.write_text("These commands come with the server: `pip install varde-server` adds them.")


_NO_SERVER: Final = ("this comes with the server, which is not installed here", "`pip install varde-server` adds it")


def _plug_ins() -> dict[str, EntryPoint]:
    """Return the commands of other distributions by name, the known ones first."""
    found = {each.name: each for each in entry_points(group=GROUP)}
    return {name: found[name] for name in (*SERVER_COMMANDS, *sorted(found)) if name in found}


@cache
def _load(plug_in: EntryPoint) -> click.Command:
    try:
        command: click.Command = plug_in.load()
        _keep_lines(command)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other commands shall work
        return _failing(plug_in.name, f"'{plug_in.name}' cannot be loaded ({type(error).__name__}: {error})")
    return command


def _failing(name: str, what: str, advice: str = "") -> click.Command:
    """Make a command that takes any arguments and ends with a failure."""

    def fail(**_: object) -> NoReturn:
        raise Failure(what, advice)

    anything = click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True, "help_option_names": []}
    return click.Command(name, callback=fail, params=[anything], short_help=what, context_settings=settings)


@click.group(
    cls=CommandLine,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(version("varde"), prog_name="varde", message="%(prog)s %(version)s")
def varde() -> None:
    """Talk end-to-end encrypted, or run the system that lets others.

    A first chat, in three terminals:
      varde up
      varde signup --home /tmp/alice --email alice@example.org
      varde signup --home /tmp/bob --email bob@example.org
    and then bob makes a link, and alice uses it:
      varde invite create --home /tmp/bob
      varde chat --home /tmp/bob
      varde join --home /tmp/alice --name bob '<the link>'
      varde chat --home /tmp/alice bob
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
    prepare_streams()
    record_prompts()
    _check_umask()
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(lambda: _run(words), os.environ)


def _check_umask() -> None:
    """See to it that what this program makes can be read by itself: nobody means a mask that forbids that."""
    mask = os.umask(0o077)
    if not mask & stat.S_IRWXU:
        os.umask(mask)


def _run(words: list[str]) -> object:
    read = [_as_text(word) for word in words]
    # The context keeps the words: another program may have to run them.
    return varde.main(read, prog_name=program_name(), standalone_mode=False, obj=read)


def _as_text(word: str) -> str:
    # In a locale without the letters, bytes come as surrogates (PEP 383). They are UTF-8 nevertheless, or no text.
    try:
        return os.fsencode(word).decode() if word.encode(errors="replace").decode() != word else word
    except UnicodeError:
        shown = word.encode(errors="replace").decode()
        raise click.UsageError(f"'{shown}' is not text.") from None
