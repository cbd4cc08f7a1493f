"""The 24 words on a terminal: shown once in numbered columns, three of them asked back, and asked for when needed."""

import os
import random
import shutil
import sys
from typing import Final

import click

import varde

ASKED_BACK: Final = 3
_COLUMNS: Final = (6, 4, 3, 2, 1)
"""Those that 24 words fill evenly and the eye can follow."""
_INDENT: Final = 4
_CELL: Final = 13
"""Number, word of at most eight letters, and two spaces."""


def is_asked_back() -> bool:
    """Whether there is a person to be asked, on a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def hand_over_phrase(phrase: str, *, ask: bool) -> None:
    """Show a new phrase. With `ask`, and on a terminal, return once three words of it were typed from the paper.

    Ctrl-C raises click.Abort: whoever called knows whether the phrase can be shown again.
    """
    _print_phrase(phrase)
    if not (ask and is_asked_back()):
        return
    words = phrase.split()
    _wait_until_written()
    for number in sorted(random.SystemRandom().sample(range(1, len(words) + 1), ASKED_BACK)):
        while (typed := _normal(click.prompt(f"Word {number}"))) != words[number - 1]:
            if typed == "?":
                _print_phrase(phrase)
                _wait_until_written()
            else:
                click.echo(f"That is not word {number}. Look at the paper and try again, or type ? to see them again.")
    click.echo("That is right. Keep the paper where nobody else looks.")


def ask_phrase(question: str = "The 24 words") -> str:
    """Ask for a phrase; a word that cannot be right is asked for again by its number."""
    typed = str(click.prompt(question, hide_input=True, err=True))
    while True:
        try:
            return varde.check_phrase(typed)
        except varde.WrongWord as wrong:
            if not sys.stdin.isatty():
                raise
            click.echo(f"{wrong}. {wrong.advice[:1].upper()}{wrong.advice[1:]}.", err=True)
            words = list(wrong.words)
            words[wrong.number - 1] = str(click.prompt(f"Word {wrong.number}", err=True))
            typed = " ".join(words)
        except varde.WrongPhrase as wrong:
            if not sys.stdin.isatty():
                raise
            click.echo(f"{wrong}. Type all of them again, or end with Ctrl-C.", err=True)
            typed = str(click.prompt(question, hide_input=True, err=True))


def _print_phrase(phrase: str) -> None:
    words = phrase.split()
    # In columns of a width that fits, because a line that wraps is written down with its words in another order.
    room = shutil.get_terminal_size().columns - _INDENT
    columns = next((each for each in _COLUMNS if each * _CELL <= room), 1)
    click.echo("\nYour recovery phrase. Write it down now: it is shown once, and nobody can give it to you again.")
    cells = [f"{number:>2}. {word:<8} " for number, word in enumerate(words, start=1)]
    for start in range(0, len(cells), columns):
        click.secho(" " * _INDENT + "".join(cells[start : start + columns]).rstrip(), bold=True)


def _wait_until_written() -> None:
    click.echo("\nWhen all 24 are on paper, press Enter. Three of them are asked back.", nl=False)
    if not sys.stdin.readline():
        raise click.Abort
    if os.environ.get("TERM", "dumb") != "dumb":
        click.echo("\x1b[2J\x1b[3J\x1b[H", nl=False)  # from the paper, not from the screen


def _normal(typed: object) -> str:
    return str(typed).strip().strip(".").lower()
