"""`list`, `compare`, `index` and `publish`: scenarios before they are run, and runs afterwards."""

import textwrap
from pathlib import Path
from typing import Final

import click

from loadtest.report.result import RUNS, read_result
from loadtest.scenarios.catalogue import SCENARIOS
from loadtest.scenarios.plan import Ask, Kind, Plan

_PATH: Final = click.Path(path_type=Path)


@click.command("list", short_help="The catalogue: each scenario and what it shows.")
@click.option("--smoke", is_flag=True, help="With the small amounts of a smoke run.")
def catalogue(*, smoke: bool) -> None:
    """The catalogue: each scenario, what it shows, and its load shape. Stages in brackets are judged."""
    for scenario in SCENARIOS.values():
        plan = scenario.plan(Ask(smoke=smoke))
        click.echo(f"{scenario.name}: {scenario.title} ({amounts_of(plan)})")
        for text in (scenario.shows, shape_of(plan)):
            click.echo(textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="    "))
        click.echo()
    click.echo("python -m loadtest run SCENARIO [--users N] [--rate R] [--seconds S] [--smoke]")


def amounts_of(plan: Plan) -> str:
    """Return a plan's size in words: users, rate, time."""
    rate = max(max(stage.messages_per_second, stage.requests_per_second) for stage in plan.stages)
    done = [f"{rate:,g} {'requests' if plan.kind is Kind.REST else 'messages'}/s"] if rate else []
    return ", ".join((f"{plan.seats:,} users", *done, _time(plan.seconds)))


def shape_of(plan: Plan) -> str:
    """Return the stages in order; those that are judged stand in brackets."""
    shape = []
    for stage in plan.stages:
        words = f"{stage.name} {_time(stage.seconds)}" + (f" ({stage.action})" if stage.action is not None else "")
        shape.append(f"[{words}]" if stage.judged else words)
    return " -> ".join(shape)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


@click.command(short_help="Say what changed between two runs, and whether it is more than noise.")
@click.argument("before", metavar="A", type=_PATH)
@click.argument("after", metavar="B", type=_PATH)
@click.option(
    "--tolerance",
    default=10.0,
    type=click.FloatRange(0, 1000),
    metavar="PERCENT",
    help="By how much a figure may get worse, apart from noise.",
)
@click.option("--changed", is_flag=True, help="Show only what is worse or better.")
def compare(before: Path, after: Path, tolerance: float, *, changed: bool) -> int:
    """Say what changed from run A to run B, and whether it is more than noise.

    A and B are folders of runs, or their result.json. A figure is worse or better when it changed by more than the
    tolerance and the noise of the two runs, three deviations to either side, does not overlap. Noise is: of
    percentiles, order statistics of their histograms, and how unsteady the run was from one tenth of it to the next;
    of counts, their own size; of a server's processor and memory, the means of ten stretches of the judged stages. One
    more message that is lost, twice, out of order or undecryptable is worse.

    Exit codes: 0 no regression; 1 a regression beyond noise; 2 not comparable (a run is invalid or failed, or
    scenario, users, rate or length differ); 3 cannot read.
    """
    from loadtest.report.comparison import Change, compare_results, table_of  # noqa: PLC0415 - others do without

    comparison = compare_results(read_result(before), read_result(after), tolerance=tolerance / 100)
    names = [(path.parent if path.suffix == ".json" else path).resolve().name for path in (before, after)]
    click.echo(table_of(comparison, (names[0], names[1]), everything=not changed))
    return 2 if comparison.obstacles else int(bool(comparison.keys(Change.WORSE)))


@click.command(short_help="Write the index of all runs, with verdicts and trends.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=RUNS)
def index(folder: Path) -> None:
    """Write index.html into FOLDER (build/load), from the result.json of each run in it.

    Each run into build/load does so by itself; this is for folders that were moved, removed, or copied from elsewhere.
    """
    from loadtest.report.page import write_index  # noqa: PLC0415 - matplotlib takes a second to import

    click.echo(write_index(folder))


@click.command(short_help="Put runs into the documentation.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=_PATH)
def publish(runs: tuple[Path, ...]) -> None:
    """Put a small picture of each run into docs/benchmarks/load and its figures into docs/load-results.md.

    Each RUN is the folder of a run. It takes the place of an older run of its scenario. Runs that were INVALID, FAILED
    or interrupted are refused.
    """
    from loadtest.report.publish import PAGE, publish_runs  # noqa: PLC0415 - the same

    publish_runs(runs, PAGE, SCENARIOS)
    click.echo(f"{PAGE.name} and {len(runs)} pictures are written")
