"""`python -m loadtest publish RUN...`: put runs into the documentation."""

from pathlib import Path

import click

from loadtest.command.exits import CouldNotRun


@click.command("publish")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(runs: tuple[Path, ...]) -> int:
    """Put the reports of runs into docs/benchmarks/load and their figures into docs/load-results.md.

    Each RUN is the folder of a run. It takes the place of an older run of its scenario. Runs that were INVALID, FAILED
    or interrupted are refused.
    """
    from loadtest.report.publishing import PAGE, PublishError, publish  # noqa: PLC0415 - other commands do without
    from loadtest.report.reading import ReadError  # noqa: PLC0415 - the same
    from loadtest.scenarios.catalogue import SCENARIOS  # noqa: PLC0415 - the same

    try:
        publish(runs, PAGE, SCENARIOS)
    except (ReadError, PublishError) as error:
        raise CouldNotRun(str(error)) from error
    except OSError as error:
        raise CouldNotRun(f"a report cannot be copied: {error.strerror}", "give folders that `run` wrote") from error
    click.echo(f"{PAGE.name} and {len(runs)} reports are written")
    return 0
