"""What commands print: aligned columns and times for people, JSON for programs, commands to copy."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import click
import msgspec

# Controls but line feed and tab; the bidirectional embeddings, overrides and isolates (UAX 9); halves of characters.
_COMMANDS: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")

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


def format_time(moment: datetime) -> str:
    """Return local time to the minute, with the date unless it is today."""
    local = moment.astimezone()
    today = local.date() == datetime.now(local.tzinfo).date()
    return f"{local:%H:%M}" if today else f"{local:%Y-%m-%d %H:%M}"


def printable(text: str) -> str:
    """Return what somebody else wrote as a terminal can show it: every line break as one, and nothing that commands it.

    Controls move the cursor, and the directional overrides let one text look like another. All else stays, joiners and
    selectors of emoji above all.
    """
    return _COMMANDS.sub("�", text.replace("\r\n", "\n"))


def program_name() -> str:
    """Return the shortest words that start this program again from the folder it was started in."""
    script = Path(sys.executable).with_name("varde")
    if not script.exists():
        return f"{_from_here(sys.executable)} -m varde_cli"
    found = shutil.which("varde")
    return "varde" if found is not None and Path(found).resolve() == script.resolve() else _from_here(str(script))


def _from_here(path: str) -> str:
    try:
        relative = os.path.relpath(path)
    except FileNotFoundError:
        relative = path  # the folder that one is in is gone
    return shlex.quote(path if relative.startswith(os.pardir) else relative)
