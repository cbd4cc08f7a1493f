"""A question to the person while a client runs.

Ctrl-C ends it at once. No thread waits in `sys.stdin`: the interpreter wants its lock when it ends, and aborts without.
"""

import os
from contextlib import suppress
from typing import Final

import click
import trio

_LINE_BYTES: Final = 4_096
_INPUT: Final = 0


async def ask(question: str) -> str:
    """Ask on standard error; return the line without its end. Raises click.Abort when the input has ended."""
    click.echo(f"{question}: ", nl=False, err=True)
    line = b""
    while not line.endswith(b"\n"):
        with suppress(PermissionError):  # a file is always readable, which epoll does not want to be asked
            await trio.lowlevel.wait_readable(_INPUT)  # without a deadline: a person types
        try:
            # One byte, because what is behind the line is for whoever asks next.
            byte = os.read(_INPUT, 1)
        except OSError:
            byte = b""
        if not byte or len(line) == _LINE_BYTES:
            raise click.Abort
        line += byte
    return line.decode(errors="replace").strip()
