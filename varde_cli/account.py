"""`varde signup`, `login`, `whoami` and `logout`: the account, and this machine as one of its devices."""

import functools
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import click
import trio

import varde
from varde.identity import Enrolled, Identity, Profile
from varde.store.store import STORE_NAME
from varde.typed import read_code, visible
from varde_cli.devices import phrase_option
from varde_cli.options import Home, home_options
from varde_cli.output import json_option, print_json, print_table, program_name
from varde_cli.prompt import ask
from varde_cli.recovery_phrase import ask_phrase, hand_over_phrase, is_asked_back
from varde_cli.run import run_client, run_connected

T = TypeVar("T")

DEFAULT_API_URL: Final = "http://127.0.0.1:8400"
"""Of `varde up` on this machine."""
SERVER_DATA: Final = ".varde"
"""Where `varde up` keeps its data by default; the mail that it does not send is there."""
_TRIES: Final = 3
_ADDED_MEANWHILE: Final = 2.0
"""Seconds to see whether a manager has added this device since an earlier run."""

_email = click.option("--email", prompt="E-mail address", prompt_required=True, help="Where the one-time code goes.")
_api = click.option(
    "--api", "api_url", metavar="URL", help=f"The API to sign in at.  [$VARDE_API_URL; default: {DEFAULT_API_URL}]"
)
_code = click.option("--code", help="The one-time code, when it was asked for before; otherwise it is asked for now.")
_request_only = click.option("--request-only", is_flag=True, help="Only have a code sent, for a later run with --code.")


@click.command()
@_email
@_api
@_code
@_request_only
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    default=("PRIVAT",),
    show_default=True,
    type=click.Choice(["PRIVAT", "JOBB"], case_sensitive=False),
    help="A mode to begin with; give it twice for both.",
)
@click.option("--yes", is_flag=True, help="Do not ask for three of the words.")
@json_option
@home_options(fresh=True)
def signup(
    home: Home,
    *,
    email: str,
    api_url: str | None,
    code: str | None,
    request_only: bool,
    profiles: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Make an account, with this machine as its first device.

    A one-time code comes by e-mail. Then you get 24 words: write them down; three of them are asked back. They are the
    only way to add another device later, and nobody else has them, not even the server.

    Interrupted, run the same again: it goes on where it was.

    Examples:
      varde signup --email you@example.org
      varde signup --email you@example.org --home ~/.varde-work --profile JOBB --passphrase
    """
    url = _api_url(api_url)

    asks_back = not yes and not as_json and is_asked_back()

    async def enrol(given: str | None) -> Enrolled:
        types = tuple(name.upper() for name in profiles)
        return await varde.sign_up(
            *(home.folder, home.unlock),
            api_url=url,
            email=email,
            code=given,
            profile_types=types,
            keep_phrase=asks_back,
        )

    enrolled = run_client(lambda: _go_on_or_ask(home, url, email, code, enrol, request_only=request_only))
    if enrolled is None:
        return
    if as_json:
        print_json(enrolled)
        return
    click.secho("Welcome. This machine is the first device of your account.", bold=True)
    _show_addresses(enrolled.profiles)
    hand_over_phrase(enrolled.recovery_phrase or "", ask=asks_back)
    if asks_back:
        run_client(lambda: varde.forget_phrase(home.folder, home.unlock))
    program = program_name()
    click.echo(f"\nNext: {program} invite create, a link to give to people; or {program} join, with one that you got.")


@click.command()
@_email
@_api
@_code
@_request_only
@click.option(
    "--phrase-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True),
    metavar="FILE",
    help="Read the 24 words from there ('-': standard input) instead of asking for them.",
)
@click.option("--by-manager", is_flag=True, help="Have a manager among your devices add this one, without the words.")
@json_option
@home_options(fresh=True)
def login(
    home: Home,
    *,
    email: str,
    api_url: str | None,
    code: str | None,
    request_only: bool,
    phrase_file: Path | None,
    by_manager: bool,
    as_json: bool,
) -> None:
    """Make this machine a further device of an account you have, or sign its device in again.

    For a further device you need the e-mail address, and the 24 words or a device that is a manager (--by-manager).
    It sees what is written from now on.

    A folder that holds a device already (its session was ended, or ran out) stays that device: you need the e-mail
    address only. It keeps what it has, and gets what still waits for it.

    Examples:
      varde login --email you@example.org --home ~/.varde-laptop
      varde login --email you@example.org --home ~/.varde-laptop --by-manager
      varde login --email you@example.org
    """
    # With a phrase it is a further device, new or half-made by an interrupted run.
    stored = None if phrase_file else run_client(lambda: varde.find_device(home.folder, home.unlock))
    if stored is not None:
        if api_url is not None and _api_url(api_url) != stored.api_url:
            raise click.UsageError(f"The device in {home.folder} belongs to another API: leave out --api.")
        _sign_in_again(home, stored, email, code, request_only=request_only, as_json=as_json)
        return
    url = _api_url(api_url)
    if by_manager:
        wait = functools.partial(_log_in_by_manager, home, url, email, code, request_only=request_only, as_json=as_json)
        _welcome_back(run_client(wait), as_json=as_json)
        return
    phrase = "" if request_only else _read_phrase(phrase_file)

    async def enrol(given: str | None) -> Enrolled:
        return await varde.log_in(
            home.folder, home.unlock, api_url=url, email=email, code=given, recovery_phrase=phrase
        )

    wait_enrolled = functools.partial(_go_on_or_ask, home, url, email, code, enrol, request_only=request_only)
    _welcome_back(run_client(wait_enrolled), as_json=as_json)


def _welcome_back(enrolled: Enrolled | None, *, as_json: bool) -> None:
    if enrolled is not None and as_json:
        print_json(enrolled)
    elif enrolled is not None:
        click.secho("Welcome back. This machine is now a device of your account.", bold=True)
        _show_addresses(enrolled.profiles)


async def _log_in_by_manager(
    home: Home, url: str, email: str, code: str | None, *, request_only: bool, as_json: bool
) -> Enrolled | None:
    async def ask(given: str) -> str:
        return await varde.request_device(home.folder, home.unlock, api_url=url, email=email, code=given)

    try:
        # Where it was interrupted before: perhaps it was added meanwhile, and else the session is still good.
        with trio.move_on_after(_ADDED_MEANWHILE):
            return await varde.complete_device(home.folder, home.unlock)
        shown: str | None = await ask("")
    except varde.NotListed:
        shown = await ask("")
    except (varde.NotEnrolled, varde.SignedOut):
        shown = await _with_code(url, email, code, ask, request_only=request_only)
    while shown is not None:
        if as_json:
            print_json({"code": shown})
        else:
            click.echo("\nOn a device of yours that is a manager, within the hour:\n")
            click.echo(f"{program_name()} devices add {shown}\n")
            click.echo("This waits for it. Ctrl-C ends that; run the same again to go on.", err=True)
        try:
            return await varde.complete_device(home.folder, home.unlock)
        except varde.NotListed:
            shown = await ask("")
    return None


def _sign_in_again(
    home: Home, stored: varde.StoredDevice, email: str, code: str | None, *, request_only: bool, as_json: bool
) -> None:
    click.echo("This folder holds a device already: it signs in again, and needs no recovery phrase.", err=True)

    async def come_back(given: str) -> Identity:
        return await varde.sign_in_again(home.folder, home.unlock, email=email, code=given)

    me = run_client(lambda: _with_code(stored.api_url, email, code, come_back, request_only=request_only))
    if me is None:
        return
    if as_json:
        print_json(me)
        return
    click.secho("Welcome back. This machine is the same device as before, and signed in again.", bold=True)


def _read_phrase(file: Path | None) -> str:
    if file is None:
        return ask_phrase()
    return varde.check_phrase(sys.stdin.read() if str(file) == "-" else file.read_text())


async def _go_on_or_ask(
    home: Home,
    url: str,
    email: str,
    code: str | None,
    use: Callable[[str | None], Awaitable[T]],
    *,
    request_only: bool,
) -> T | None:
    """Go on with what an interrupted run has left in the folder; where that is nothing, it takes a code."""
    # Only where there is a store: a code that cannot be asked for should leave none behind.
    if code is None and not request_only and (home.folder / STORE_NAME).exists():
        with suppress(varde.CodeNeeded):
            return await use(None)
    return await _with_code(url, email, code, use, request_only=request_only)


async def _with_code(
    url: str, email: str, code: str | None, use: Callable[[str], Awaitable[T]], *, request_only: bool
) -> T | None:
    """Have a code sent unless it is there, and use it; a mistyped one may be typed again."""
    if code is not None and not request_only:
        return await use(code)
    await varde.request_code(url, email)
    click.echo(f"A one-time code is on its way to {email}.{_development_hint()}", err=True)
    if request_only:
        return None
    for last in (*[False] * (_TRIES - 1), True):
        # Nothing can interrupt a prompt: Ctrl-C leaves its thread behind, and it dies with the process.
        given = await _ask_code()
        try:
            return await use(given)
        except varde.CodeRefused as refused:
            if last or refused.code != "code-wrong":
                raise
            click.echo("That is not the code. Try again.", err=True)
    return None


async def _ask_code() -> str:
    while True:
        try:
            return read_code(await ask("Code"))
        except varde.VardeError:
            click.echo("That is not a code: it has eight digits. Try again, or end with Ctrl-C.", err=True)


def _development_hint() -> str:
    """Where the code is found when the system runs on this machine without a mail server."""
    outbox = Path(os.environ.get("VARDE_DATA") or SERVER_DATA) / "outbox"
    if not outbox.is_dir():
        return ""
    return f"\n(No mail server here: it is in what `varde up` prints, and in the folder {outbox}.)"


def _api_url(given: str | None) -> str:
    return visible(given or os.environ.get("VARDE_API_URL") or DEFAULT_API_URL).rstrip("/")


def _show_addresses(profiles: tuple[Profile, ...]) -> None:
    click.echo("\nYour addresses:")
    for profile in profiles:
        click.echo(f"    {profile.type:<6}  {profile.id}")


@click.command()
@json_option
@home_options()
def whoami(home: Home, *, as_json: bool) -> None:
    """Show who you are here: account, device and addresses."""

    async def show(client: varde.Client) -> None:
        if as_json:
            print_json(client.identity)
            return
        click.echo(f"account  {client.identity.account}\ndevice   {client.identity.device}\n")
        rows = [(profile.type, str(profile.id)) for profile in client.identity.profiles]
        print_table(("MODE", "ADDRESS"), rows)

    run_connected(home, show)


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@phrase_option
@home_options()
def logout(home: Home, *, yes: bool, phrase: bool) -> None:
    """Take this device out of your account, for ever.

    What was said stays in its folder. To come back, `varde login` makes a new device in another folder.
    """
    if not yes:
        click.confirm("Take this device out of your account for ever?", abort=True)

    words = ask_phrase() if phrase else None

    async def end(client: varde.Client) -> None:
        await client.log_out(recovery_phrase=words)

    run_connected(home, end)
    click.echo("Logged out.")
