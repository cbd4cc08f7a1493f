"""QR codes: half blocks in a terminal, and PNG files. What is in them is mostly secret."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import segno

from varde_cli.run import Failure
from varde_cli.streams import here

QUIET: Final = 2
"""Light modules around it. The standard asks for four; cameras do with two, and narrow terminals need the columns."""
_PNG_SCALE: Final = 8
_BLACK_ON_WHITE: Final = "\x1b[30;107m"
_RESET: Final = "\x1b[0m"
_HALVES: Final = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}


def show_qr(text: str) -> None:
    """Print a QR code where standard output is a terminal that can show it, and otherwise say how else to get one."""
    if not sys.stdout.isatty():
        return  # a script reads the text itself
    drawn = draw_qr(text, os.environ, shutil.get_terminal_size().columns, sys.stdout.encoding)
    if drawn is None:
        click.echo("This terminal cannot show it as a QR code: --png FILE writes a picture.", err=True)
    else:
        click.echo(f"\n{drawn}\n", color=True)


def draw_qr(text: str, environ: Mapping[str, str], columns: int, encoding: str) -> str | None:
    """Return the lines of a QR code, two rows of modules in each; None where they would not look like one.

    Without colours, light modules are drawn: a terminal is mostly dark, and its own background are the dark ones.
    """
    rows = [list(row) for row in segno.make_qr(text, error="l").matrix_iter(border=QUIET)]
    if environ.get("TERM") == "dumb" or len(rows[0]) > columns:
        return None
    colours = not environ.get("NO_COLOR")
    if not colours:
        rows = [[1 - module for module in row] for row in rows]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    lines = (
        "".join(_HALVES[halves] for halves in zip(*pair, strict=True))
        for pair in zip(rows[::2], rows[1::2], strict=True)
    )
    drawn = "\n".join(f"{_BLACK_ON_WHITE}{line}{_RESET}" if colours else line for line in lines)
    try:
        drawn.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return None
    return drawn


def write_png(text: str, path: Path) -> None:
    """Write a picture that nobody else on this machine may read. Raises Failure where there is a file already."""
    try:
        descriptor = os.open(here(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Failure(f"there is a file {path} already", "choose another name") from None
    with os.fdopen(descriptor, "wb") as file:
        segno.make_qr(text, error="m").save(file, kind="png", scale=_PNG_SCALE)
