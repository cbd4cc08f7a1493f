"""`varde search`: messages on this device, by their words."""

import sys

import click

import varde
from varde_cli.names import Names, find_conversation
from varde_cli.options import Home, home_options
from varde_cli.output import format_time, json_option, print_json, printable
from varde_cli.run import run_connected

_SAID_FROM = 5_000
"""Messages that take no time that a person would notice."""
_AROUND = 60
"""Characters shown on each side of what was found."""


@click.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--in", "where", metavar="CONVERSATION", help="Only there: a contact, `self`, or the end of an id.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="So many messages at most.")
@json_option
@home_options()
def search(home: Home, words: tuple[str, ...], *, where: str | None, limit: int, as_json: bool) -> None:
    """Find messages on this device with all WORDS in them, the newest first.

    Of a word the beginning is enough; put a phrase in quotation marks. No server is asked.

    Examples:
      varde search blåbær
      varde search --in bob '"see you"' eight
    """

    async def run(client: varde.Client) -> None:
        names = Names(client)
        conversation = None if where is None else (await find_conversation(client, where)).id
        progress = _show_progress if sys.stderr.isatty() else None
        found = await client.search(" ".join(words), conversation=conversation, limit=limit, progress=progress)
        if as_json:
            print_json(found)
            return
        for each in found:
            message = each.message
            who, when = names.of(message.profile), format_time(message.written)
            click.echo(f"{click.style(when, dim=True)}  {click.style(who, bold=True)}  {_excerpt(each)}")
        if not found:
            click.echo("Nothing found.", err=True)

    run_connected(home, run)


def _show_progress(done: int, of: int) -> None:
    if of > _SAID_FROM:
        click.echo(f"\rreading messages: {done:,} of {of:,}{' ' if done < of else chr(10)}", nl=False, err=True)


def _excerpt(found: varde.Found) -> str:
    """The text around the first hit on one line, with the hits bold."""
    text, hits = found.message.text, found.hits
    first = hits[0][0] if hits else 0
    start, end = max(0, first - _AROUND), min(len(text), first + 2 * _AROUND)
    parts, at = ["…" if start else ""], start
    for hit, length in hits:
        if hit >= end:
            break
        stop = min(end, hit + length)
        parts += [_line(text[at:hit]), click.style(_line(text[hit:stop]), bold=True, fg="bright_yellow")]
        at = stop
    return "".join([*parts, _line(text[at:end]), "…" if end < len(text) else ""])


def _line(text: str) -> str:
    return printable(text).replace("\n", " ").replace("\t", " ")
