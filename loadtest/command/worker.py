"""`worker`: makes load in this process, as a master says."""

from pathlib import Path

import click


@click.command(name="worker")
@click.option("--master", required=True, metavar="HOST:PORT", help="Where the master listens.")
@click.option(
    "--crowd",
    type=click.Path(path_type=Path, dir_okay=False),
    help="This machine's copy of the crowd's file; else the path that the master names is read.",
)
@click.option("--tethered", is_flag=True, hidden=True, help="End when standard input ends.")
def command(master: str, crowd: Path | None, *, tethered: bool) -> int:
    """Connect to a master, and make the load that it asks for until it says that all is over.

    The file of the crowd holds keys and tickets: copy it over a channel of your own, and give it with --crowd.
    """
    host, _, port = master.rpartition(":")
    if not host or not port.isdecimal():
        raise click.BadParameter("must be HOST:PORT", param_hint="--master")
    from loadtest.running.working import work  # noqa: PLC0415 - it patches the process

    return work((host, int(port)), crowd, tethered=tethered)
