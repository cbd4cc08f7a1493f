"""Before a run: `list`, `preflight`, `calibrate`. With runs that were made: `compare`, `slopes`, `index`, `publish`."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from loadtest.exits import EXIT_CODES, Verdict
from loadtest.report.result import RUNS, read_result
from loadtest.scenarios.plan import SCENARIOS, Kind, Options, Plan
from loadtest.watch.machine import Check, Grade, check_machine

if TYPE_CHECKING:
    from loadtest.watch.calibration import Calibration

_PATH: Final = click.Path(path_type=Path)
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
_SIGNS: Final = {Grade.GOOD: "ok  ", Grade.WARNING: "warn", Grade.FAULT: "BAD "}


@click.command("list", short_help="The catalogue: each scenario and what it shows.")
@click.option("--smoke", is_flag=True, help="With the small amounts of a smoke run.")
def catalogue(*, smoke: bool) -> None:
    """The catalogue: each scenario, what it shows, and its load shape. Stages in brackets are judged."""
    for scenario in SCENARIOS.values():
        plan = scenario.plan(Options(smoke=smoke))
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


@click.command(short_help="Look at this machine's limits and say what to change.")
@click.argument("scenario", required=False, type=click.Choice(list(SCENARIOS)))
@click.option("--users", type=click.IntRange(min=1), help="How many users the run shall have  [default: 10000].")
@click.option("--workers", type=click.IntRange(min=1), default=2, help="Generator processes here.")
def preflight(*, scenario: str | None, users: int | None, workers: int) -> int:
    """Look at open files, ports, clock, CPU and memory, for SCENARIO or so many users, and say what to change.

    Exit code 0: nothing is in the way, though there may be warnings. 1: a run of this size will not work here.
    """
    if users is None:
        users = 10_000 if scenario is None else SCENARIOS[scenario].plan(Options()).seats
    click.echo(f"{users:,} users in {workers} workers:\n")
    checks = check_machine(users, workers)
    click.echo("\n".join(map(line_of, checks)))
    return EXIT_CODES[Verdict.MISSED] if any(check.grade is Grade.FAULT for check in checks) else 0


def line_of(check: Check) -> str:
    """Return a check in one line, or two when there is something to do."""
    advice = f"\n       do: {check.advice}" if check.advice else ""
    return f"  {_SIGNS[check.grade]} {check.name}: {check.words}{advice}"


@click.command(short_help="What the generator can do by itself, against a node without a database.")
@click.option("--users", type=click.IntRange(min=2), default=1000, help="Users of the one worker.")
@click.option("--seconds", type=click.FloatRange(min=0.5), default=3.0, help="For each rate.")
@click.option("--out", type=_FOLDER, default=RUNS, help="Folder of calibration.json.")
def calibrate(*, users: int, seconds: float, out: Path) -> None:
    """Measure how many messages a second one worker can make, and what a connection costs it."""
    from loadtest.watch.calibration import measure_generator  # noqa: PLC0415 - it brings in gevent

    out.mkdir(parents=True, exist_ok=True)
    found = measure_generator(users, seconds, click.echo)
    path = out / "calibration.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    click.echo(f"{words_of(found)}\nwritten to {path}")


def words_of(found: "Calibration") -> str:
    """Return the figures in words."""
    rate = "not even the first rate went well: see what else runs here"
    if found.messages_per_second is not None:
        cost = f"{found.message_cpu_us:.0f} us of CPU each"
        rate = f"{found.messages_per_second:,.0f}/s at 90 % of a core, {cost}: sent, acked, received, confirmed"
    return f"""
one worker process can do by itself:
  connects   {found.connects_per_second:,.0f}/s as they went, {found.connect_cpu_us:,.0f} us of CPU each
  idle       {found.users:,} users cost {found.idle_cpu_percent:.1f} % of a core, {found.kib_per_user:.0f} KiB each
  messages   {rate}"""


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


@click.command(short_help="What a node, a connection and a message cost, from several runs.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=_PATH)
@click.option("--connections", default=1_000_000, type=click.IntRange(min=1), help="To reckon with.")
@click.option("--rate", default=10_000.0, type=click.FloatRange(min=0), help="Messages a second, with those.")
def slopes(runs: tuple[Path, ...], connections: int, rate: float) -> None:
    """Lay straight lines through runs of fresh stacks, and say what many connections would take.

    The runs have to differ in nodes, connections and messages: four at least. docs/operations/capacity.md has them.
    """
    from loadtest.report.comparison import slopes_of, words_of  # noqa: PLC0415 - others do without numpy

    click.echo(words_of(slopes_of([read_result(run) for run in runs]), connections, rate))


@click.command(short_help="Write the index of all runs, with verdicts and trends.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=RUNS)
def index(folder: Path) -> None:
    """Write index.html into FOLDER (build/load), from the result.json of each run in it.

    Each run into build/load does so by itself; this is for folders that were moved, removed, or copied from elsewhere.
    """
    from loadtest.report.outputs import write_index  # noqa: PLC0415 - matplotlib takes a second to import

    click.echo(write_index(folder))


@click.command(short_help="Put runs into the documentation.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=_PATH)
def publish(runs: tuple[Path, ...]) -> None:
    """Put a small picture of each run into docs/benchmarks/load and its figures into docs/load-results.md.

    Each RUN is the folder of a run. It takes the place of an older run of its scenario. Runs that were INVALID, FAILED
    or interrupted are refused.
    """
    from loadtest.report.outputs import PAGE, publish_runs  # noqa: PLC0415 - the same

    publish_runs(runs, PAGE, SCENARIOS)
    click.echo(f"{PAGE.name} and {len(runs)} pictures are written")
