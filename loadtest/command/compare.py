"""`python -m loadtest compare A B`: what changed between two runs."""

from pathlib import Path
from typing import Final

import click

from loadtest.command.exits import CouldNotRun

SAME: Final = 0
REGRESSED: Final = 1
NOT_COMPARABLE: Final = 2
HELP: Final = """Say what changed from run A to run B, and whether it is more than noise.

A and B are folders of runs, or their result.json. A figure is worse or better when it changed by more than the
tolerance and the noise of the two runs, three deviations to either side, does not overlap. Noise is: of percentiles,
order statistics of their histograms, and how unsteady the run was from one tenth of it to the next; of counts, their
own size; of a server's processor and memory, the means of ten stretches of the judged stages. One more message that
is lost, twice, out of order or undecryptable is worse.

\b
Exit codes: 0 no regression; 1 a regression beyond noise; 2 not comparable (a run is
invalid or failed, or scenario, users, rate or length differ); 3 cannot read.
"""


@click.command("compare", help=HELP)
@click.argument("before", metavar="A", type=click.Path(path_type=Path))
@click.argument("after", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "--tolerance",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0, 1000),
    metavar="PERCENT",
    help="By how much a figure may get worse, apart from noise.",
)
@click.option("--changed", is_flag=True, help="Show only what is worse or better.")
def command(before: Path, after: Path, tolerance: float, *, changed: bool) -> int:
    """Read, compare, tell."""
    from loadtest.report.comparison import compare_results  # noqa: PLC0415 - other commands do without
    from loadtest.report.distribution import DistributionError  # noqa: PLC0415 - the same
    from loadtest.report.reading import ReadError, read_result  # noqa: PLC0415 - the same
    from loadtest.report.telling import tell  # noqa: PLC0415 - the same

    try:
        comparison = compare_results(read_result(before), read_result(after), tolerance=tolerance / 100)
    except ReadError as error:
        raise CouldNotRun(str(error)) from error
    except DistributionError as error:
        raise CouldNotRun(f"one of the results holds what is {error}", "compare what the suite wrote") from error
    click.echo(tell(comparison, (_name(before), _name(after)), everything=not changed))
    return NOT_COMPARABLE if comparison.obstacles else REGRESSED if comparison.regressed else SAME


def _name(path: Path) -> str:
    """The folder's name, also when its result.json was given."""
    return (path.parent if path.suffix == ".json" else path).resolve().name
