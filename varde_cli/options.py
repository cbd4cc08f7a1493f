"""Options and groups that commands share: the home folder and what unlocks its store; `list` as the default command."""

import functools
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from varde.store.store import STORE_NAME
from varde.store.unlock import KeyFile, Passphrase, Unlock
from varde_cli.streams import EXECUTION, forget_input

FOLDER: Final = "~/.varde"
KEY_FILE: Final = "key"
LIST: Final = "list"
C = TypeVar("C", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one device on this machine, and what opens the store in it."""

    folder: Path
    unlock: Unlock = field(repr=False)


def choose_home(environ: Mapping[str, str], folder: Path | None, *, ask: bool, fresh: bool) -> Home:
    """Decide on folder and unlocking, from the options and `VARDE_HOME` and `VARDE_PASSPHRASE`.

    Without a passphrase it is a key file in the folder. A store that has no such file was made with a passphrase, so
    that is asked for on a terminal. Where a store may be made (`fresh`) and is, its passphrase is asked for twice.
    """
    if (execution := EXECUTION.get()) is not None:
        return Home(execution.home, KeyFile(execution.home / KEY_FILE))  # this program has it open
    folder = _expand(folder or Path(environ.get("VARDE_HOME") or FOLDER), environ)
    fresh = fresh and not (folder / STORE_NAME).exists()
    given = environ.get("VARDE_PASSPHRASE")
    if given and not ask:
        return Home(folder, Passphrase(given))
    key_file = folder / KEY_FILE
    made_with_passphrase = not fresh and folder.is_dir() and not key_file.exists() and sys.stdin.isatty()
    if ask or made_with_passphrase:
        return Home(folder, Passphrase(_ask(fresh=fresh)))
    return Home(folder, KeyFile(key_file))


def _expand(folder: Path, environ: Mapping[str, str]) -> Path:
    # An empty HOME would be the root of the machine.
    if environ.get("HOME") != "" or folder.parts[:1] != ("~",):
        # No HOME, and a user that the machine does not know: in a container, say.
        with suppress(RuntimeError):
            return folder.expanduser()
    raise click.UsageError("There is no home folder here to keep your keys in: set VARDE_HOME or --home.")


def _ask(*, fresh: bool) -> str:
    return str(click.prompt("Passphrase of the local store", hide_input=True, confirmation_prompt=fresh, err=True))


def home_options(*, fresh: bool = False) -> Callable[[C], C]:
    """Add --home and --passphrase to a command, whose function gets a `home`."""

    def decorate(command: C) -> C:
        @click.option(
            "--home",
            "folder",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="FOLDER",
            help=f"Where this device keeps its keys and messages.  [$VARDE_HOME; default: {FOLDER}]",
        )
        @click.option(
            "--passphrase",
            is_flag=True,
            help="Ask for the passphrase of that folder, instead of the key file in it.  [$VARDE_PASSPHRASE]",
        )
        @functools.wraps(command)
        def with_home(*args: Any, folder: Path | None, passphrase: bool, **options: Any) -> object:
            home = choose_home(os.environ, folder, ask=passphrase, fresh=fresh)
            forget_input()  # whoever runs the command for this process has unlocked the store
            return command(*args, home=home, **options)

        return with_home  # type: ignore[return-value]

    return decorate


class ListByDefault(click.Group):
    """A group whose command `list` runs, with its options, when no other command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` in front where no command is named and nobody asks for help."""
        # Anywhere in the words, because options may stand before the command.
        named = set(args) & {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if named else [LIST, *args])
