"""`run`: one scenario, headless, from a fresh stack to an exit code."""

from typing import Any

import click

from loadtest.command.load_options import WORKERS_OPTION, load_options, options_of


@click.command(name="run")
@click.argument("scenario")
@load_options(WORKERS_OPTION)
def command(scenario: str, **given: Any) -> int:
    """Run SCENARIO (`list` shows them all) and judge it against its objectives.

    Without --crowd, a fresh stack of real processes is opened, seeded, loaded and ended: Postgres, API, relay. Ctrl-C
    ends the run early and writes what there is; a second one ends at once.

    Written into one folder: result.json, report.html, report.png, series.csv, latency.hdr, junit.xml.

    Examples:
      python -m loadtest run smoke
      python -m loadtest run steady --users 200 --rate 50 --seconds 10
      python -m loadtest run connect-storm --smoke --out build/storm
    """
    from loadtest.running.conductor import conduct  # noqa: PLC0415 - it patches the process

    return conduct(options_of(scenario, given))
