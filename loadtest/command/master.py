"""`master`: leads a run whose workers are started by hand, on other machines."""

from typing import Any

import click

from loadtest.command.load_options import load_options, options_of

_PORT = 5557


@click.command(name="master")
@click.argument("scenario")
@load_options(
    click.option("--workers", required=True, type=click.IntRange(1, 256), help="How many will come."),
    click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on."),
    click.option("--port", default=_PORT, show_default=True, type=click.IntRange(1, 65_535), help="The port."),
)
def command(scenario: str, host: str, port: int, **given: Any) -> int:
    """Wait for workers, then run SCENARIO with them and judge it.

    Workers and the master speak without encryption or passwords, so let them meet in a network of your own. No keys
    and tickets are sent: each worker has its own copy of the crowd's file.

    Example, with a system that runs at 10.0.0.5:
      python -m loadtest seed --users 10000 --out crowd ...
      python -m loadtest master steady --crowd crowd --workers 4 --host 10.0.0.1
      python -m loadtest worker --master 10.0.0.1:5557 --crowd crowd      (four times, elsewhere)
    """
    from loadtest.running.conductor import conduct  # noqa: PLC0415 - it patches the process

    return conduct(options_of(scenario, given, remote=True, bind=(host, port)))
