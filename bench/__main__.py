"""The program behind `make bench`."""

import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from bench.durable.measure import measure_durable
from bench.results import FILE, Results, judge, ratios_of
from bench.run import DIMENSIONS, QUICK_DIMENSIONS, Options, Run, measure_transparency
from bench.server import CATALOGUE, DURABLE_PEERS
from bench.storms import measure_storms

STOPPED: Final = 130  # the exit status of a run that was stopped, as shells give it for SIGINT
HELP: Final = f"""Measure Varde's relay beside what one would use instead, on this machine.

Writes bench.json, a table and charts.

Every server runs in its own process on one core; the load comes from this process, on another. The servers:

\b
  {", ".join(tuple(CATALOGUE)[:4])},
  {", ".join(tuple(CATALOGUE)[4:])};
  only in the durable dimension: {", ".join(DURABLE_PEERS)}

What is measured: fanout and direct (CPU for each delivery), handshake, idle (memory and CPU of connections that do
nothing), durable (messages that are kept, beside Mosquitto), transparency (the log of device lists at a
million entries), storms (latency in a flood, recovery after
10,000 connections dropped at once). What cannot be run here is left out, and the results say so.

Ctrl-C ends the run; what was measured until then is kept. docs/benchmarks.md explains every figure.
"""


def _names(_: click.Context, parameter: click.Parameter, given: str) -> tuple[str, ...]:
    known = {"only": DIMENSIONS, "servers": (*CATALOGUE, *DURABLE_PEERS)}[str(parameter.name)]
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)} is not one of {', '.join(known)}", param=parameter)
    return names


@click.command(help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Few points, short windows, no storms, under a minute: a smoke test.")
@click.option("--only", callback=_names, default="", metavar="A,B", help="Only these dimensions.")
@click.option("--servers", callback=_names, default="", metavar="A,B", help="Only these servers.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 20), help="How often all is measured.")
@click.option("--tls/--no-tls", default=True, show_default=True, help="Over TLS as well; never with --quick.")
@click.option("--output", default="build", show_default=True, type=click.Path(path_type=Path), help="Where to write.")
@click.option("--keep", is_flag=True, help="Add to the bench.json that is there, instead of beginning anew.")
@click.option("--report", "measure", flag_value=False, default=True, help="Only table and charts, of the bench.json.")
@click.option("--publish", "published", is_flag=True, help="Put table and charts into docs/benchmarks.md as well.")
def main(*, only: tuple[str, ...], keep: bool, measure: bool, published: bool, **asked: Any) -> None:
    """Run the benchmark."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # who ends the benchmark ends its servers with it
    options = Options(**asked, say=partial(click.echo, err=True))
    results = _results(options.output, anew=measure and not keep)
    whole = not measure or measure_all(options, results, only or (QUICK_DIMENSIONS if options.quick else DIMENSIONS))
    # Here and not above: matplotlib takes a second, for which nobody shall wait who asks for help or errs.
    from bench.report import publish, write_report  # noqa: PLC0415

    click.echo(write_report(results, options.output).read_text(encoding="utf-8"))
    if published:
        publish(results, options.output)
    sys.exit(STOPPED if not whole else int(bool(results.find("failed"))))


def measure_all(options: Options, results: Results, wanted: Sequence[str]) -> bool:
    """Whether the run came to its end."""
    try:
        Run(options, results).measure(wanted)
        if "durable" in wanted:
            results.merge("durable", value=measure_durable(options))
        if "transparency" in wanted:
            results.merge("transparency", value=measure_transparency(options))
        if "storms" in wanted:
            results.merge(value=measure_storms(options))
        results.put("run", "complete", value=True)
    except KeyboardInterrupt:
        options.say(f"stopped; what was measured until now is in {results.path}")
        return False
    finally:
        results.put("ratios", value=ratios_of(results))
        results.put("targets", value=judge(results))
    return True


def _results(folder: Path, *, anew: bool) -> Results:
    try:
        return Results(folder) if anew else Results.read(folder)
    except FileNotFoundError:
        raise click.ClickException(f"there is no {folder / FILE}: run `make bench` first") from None
    except msgspec.DecodeError as fault:
        raise click.ClickException(f"{folder / FILE} is not what `make bench` wrote: {fault}") from None


if __name__ == "__main__":
    main()
