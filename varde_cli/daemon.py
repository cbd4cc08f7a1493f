"""`varde daemon`: owns a home without a screen, for scripts and for every other command."""

import os
import sys
from pathlib import Path

import click
import trio

import varde
from varde_cli.options import Home, home_options
from varde_cli.rpc.paths import SOCKET_NAME
from varde_cli.rpc.server import Connection, open_listener
from varde_cli.run import run_connected


@click.command()
@click.option("--stdio", is_flag=True, help="Answer on standard input and output, too, and end when the input does.")
@home_options()
def daemon(home: Home, *, stdio: bool) -> None:
    """Own the home: stay connected, and let scripts and other commands talk meanwhile.

    It answers JSON-RPC 2.0, a line for each object, on `daemon.sock` in the home folder; docs/daemon.md has the
    methods. Every other varde command for this home asks it by itself. SIGTERM and Ctrl-C end it.

    Examples:
      varde daemon
      varde daemon --stdio
    """
    root = click.get_current_context().find_root().command
    assert isinstance(root, click.Group)

    async def run(client: varde.Client) -> None:
        async with open_listener(client, root, home.folder):
            click.echo(f"ready on {Path(home.folder, SOCKET_NAME)}", err=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_raise_end, client)
                if stdio:
                    await _serve_stdio(client, root)
                    nursery.cancel_scope.cancel()

    run_connected(home, run)


async def _raise_end(client: varde.Client) -> None:
    raise await client.wait_ended()


async def _serve_stdio(client: varde.Client, root: click.Group) -> None:
    # Copies: Trio makes them non-blocking, and closes them.
    async with (
        trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as reader,
        trio.lowlevel.FdStream(os.dup(sys.stdout.fileno())) as writer,
    ):
        await Connection(client, root, reader, writer).serve()
