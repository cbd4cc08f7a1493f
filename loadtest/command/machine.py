"""`preflight` and `calibrate`: what this machine can do."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from loadtest.exits import EXIT_CODES, Verdict
from loadtest.report.result import RUNS
from loadtest.scenarios.catalogue import SCENARIOS
from loadtest.scenarios.plan import Ask
from loadtest.watch.preflight import Check, Grade, check_machine

if TYPE_CHECKING:
    from loadtest.watch.calibration import Calibration

_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
_SIGNS: Final = {Grade.GOOD: "ok  ", Grade.WARNING: "warn", Grade.FAULT: "BAD "}


@click.command(short_help="Look at this machine's limits and say what to change.")
@click.argument("scenario", required=False, type=click.Choice(list(SCENARIOS)))
@click.option("--users", type=click.IntRange(min=1), help="How many users the run shall have  [default: 10000].")
@click.option("--workers", type=click.IntRange(min=1), default=2, help="Generator processes here.")
def preflight(*, scenario: str | None, users: int | None, workers: int) -> int:
    """Look at open files, ports, clock, CPU and memory, for SCENARIO or so many users, and say what to change.

    Exit code 0: nothing is in the way, though there may be warnings. 1: a run of this size will not work here.
    """
    if users is None:
        users = 10_000 if scenario is None else SCENARIOS[scenario].plan(Ask()).seats
    click.echo(f"{users:,} users in {workers} workers:\n")
    checks = check_machine(users, workers)
    click.echo("\n".join(map(line_of, checks)))
    return EXIT_CODES[Verdict.MISSED] if any(check.grade is Grade.FAULT for check in checks) else 0


def line_of(check: Check) -> str:
    """Return a check in one line, or two when there is something to do."""
    advice = f"\n       do: {check.advice}" if check.advice else ""
    return f"  {_SIGNS[check.grade]} {check.name}: {check.words}{advice}"


@click.command(short_help="What the generator can do by itself, against a null server.")
@click.option("--users", type=click.IntRange(min=2), default=1000, help="Users of the one worker.")
@click.option("--seconds", type=click.FloatRange(min=0.5), default=3.0, help="For each rate.")
@click.option("--out", type=_FOLDER, default=RUNS, help="Folder of calibration.json.")
def calibrate(*, users: int, seconds: float, out: Path) -> None:
    """Measure how many messages a second one worker can make, and what a connection costs it."""
    from loadtest.watch.calibration import measure_generator  # noqa: PLC0415 - it brings in gevent

    out.mkdir(parents=True, exist_ok=True)
    found = measure_generator(users, seconds, out, click.echo)
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
