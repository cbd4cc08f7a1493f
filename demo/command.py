"""The command `varde demo`, which `varde-server` adds to `varde`."""

import os
import sys
from pathlib import Path

import click

from demo.promises import Transcript
from demo.run import run_demo
from supervisor.commands import failures_in_words
from supervisor.log_output import LogOutput
from varde_cli.run import run_client


@click.command()
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("build/demo.json"),
    show_default=True,
    metavar="FILE",
    help="Where the result goes, as JSON.",
)
@click.option("--messages", type=click.IntRange(min=100), default=2_000, show_default=True, help="Size of the storm.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER", help="Keep all data there.")
@click.option("--verbose", "-v", is_flag=True, help="Show what the programs say, too.")
def demo(report: Path, messages: int, keep: Path | None, *, verbose: bool) -> int:
    """Tell a story against real processes, and print each promise as it is kept.

    It runs its own Postgres, API and relay in a temporary folder on free ports, and touches nothing else. The exit
    code is 0 when every promise was kept. It takes a minute or so.

    Examples:
      varde demo
      varde demo --messages 10000 --report /tmp/demo.json
    """
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    log = LogOutput(sys.stdout, colour=colour) if verbose else None
    # A bar that moves and lines that come in between would write over each other.
    transcript = Transcript(sys.stdout, colour=colour, progress_bar=sys.stdout.isatty() and not verbose)
    with failures_in_words():
        return run_client(lambda: run_demo(transcript, report, message_count=messages, keep=keep, log=log))
