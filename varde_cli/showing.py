"""How commands show what they found: aligned columns for people, JSON for programs.

Nothing is fetched here.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click
import msgspec

C = TypeVar("C", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def print_json(value: object) -> None:
    """Print one line of JSON, at once."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def print_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns under a dim heading."""
    table = [tuple(heading), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heading))]
    for number, row in enumerate(table):
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(line, dim=True) if number == 0 else line)


def when(moment: datetime) -> str:
    """Local time to the minute, with the date unless it is today."""
    local = moment.astimezone()
    today = local.date() == datetime.now(local.tzinfo).date()
    return f"{local:%H:%M}" if today else f"{local:%Y-%m-%d %H:%M}"


def plain(text: str) -> str:
    """What somebody else wrote, without what a terminal would obey."""
    return "".join(each if each.isprintable() or each in "\n\t" else "�" for each in text)
