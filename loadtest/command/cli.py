"""The entry point of `python -m loadtest`: which commands there are, and how they end.

`run`, `ui`, `master` and `worker` make load, and `seed` the users for it; they are here, the others in `runs`.
"""

import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from loadtest.command.runs import calibrate, catalogue, compare, index, preflight, publish, slopes
from loadtest.crowd.crowd import Order, run_seeding
from loadtest.exits import CouldNotRun
from loadtest.scenarios.plan import WORKERS, Options, sizes_of

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)
_KEYS: Final = click.Path(path_type=Path, file_okay=False, exists=True)
_SOME: Final = click.FloatRange(min=0, min_open=True)
_PORT: Final = click.IntRange(1, 65_535)
_OPTIONS: Final[tuple[Callable[[Any], Any], ...]] = (
    click.option("--users", type=click.IntRange(min=1), help="How many, instead of the scenario's own number."),
    click.option("--rate", type=_SOME, help="Messages (or requests) a second, while judged."),
    click.option("--seconds", type=_SOME, help="How long the longest judged stage lasts."),
    click.option("--smoke", is_flag=True, help="The scenario's small form: under a minute, with everything."),
    click.option("--crowd", type=_FILE, help="Users of a running system (`seed` makes the file); else a fresh stack."),
    click.option("--out", type=_FOLDER, help="Where to write; else build/load/..."),
    click.option("--slo", type=_FILE, help="Other objectives than loadtest/slo.toml."),
    click.option("--nodes", type=click.IntRange(1, 16), help="Relay nodes of a fresh stack."),
    click.option("--tls/--no-tls", default=False, help="TLS in front of a fresh stack's relay."),
    click.option("--seed", default=1, help="What rooms and times are drawn with."),
    click.option("--even", is_flag=True, help="Sends at even distances, instead of at random ones as people send."),
    click.option("--keep-stack", is_flag=True, help="Leave the fresh stack running after the run, until Ctrl-C."),
    click.option(
        "--hook", metavar="COMMAND", help="With --crowd: called with the action as argument, such as kill-node."
    ),
    click.option(
        "--clock-budget",
        "clock_budget_ms",
        default=1.0,
        type=click.FloatRange(min=0),
        metavar="MS",
        help="How uncertain clocks of different machines may be; beyond it there is no verdict.",
    ),
)
_WORKERS: Final = click.option(
    "--workers", default=WORKERS, type=click.IntRange(1, 256), help="Processes that make the load."
)


def _load_options(*more: Callable[[Any], Any]) -> Callable[[_Command], _Command]:
    """Give a command the options of a run, and some of its own after them."""
    return lambda command: reduce(lambda made, option: option(made), reversed((*_OPTIONS, *more)), command)


@click.command(short_help="Run a scenario, headless, and judge it.")
@click.argument("scenario")
@_load_options(_WORKERS)
def run(scenario: str, **given: Any) -> int:
    """Run SCENARIO (`list` shows them all) and judge it against its objectives.

    Without --crowd, a fresh stack of real processes is opened, seeded, loaded and ended: Postgres, API, relay. Ctrl-C
    ends the run early and writes what there is; a second one ends at once.

    Written into one folder: result.json, report.html, report.png, series.csv, latency.hdr, junit.xml. Beside the
    folders of all runs, build/load/index.html lists them with their verdicts and trends.

    Examples:
      python -m loadtest run smoke
      python -m loadtest run steady --users 200 --rate 50 --seconds 10
      python -m loadtest run connect-storm --smoke --out build/storm
    """
    from loadtest.running.master import run_headless  # noqa: PLC0415 - it patches the process

    return run_headless(Options(scenario=scenario, **given))


@click.command(short_help="Locust's own web page.")
@click.argument("scenario", default="smoke")
@_load_options(
    _WORKERS,
    click.option("--host", default="127.0.0.1", help="The address of the page."),
    click.option("--port", default=8089, type=_PORT, help="Its port."),
)
def ui(scenario: str, host: str, port: int, **given: Any) -> int:
    """Open a web page where SCENARIO can be started, watched and stopped, as often as one likes.

    The page and its charts are Locust's; below stand the state of the run and a link to the report of the last one. It
    has no password: leave it on 127.0.0.1, or in a network of your own.
    """
    from loadtest.running.master import serve_page  # noqa: PLC0415 - it patches the process

    return serve_page(Options(scenario=scenario, **given), (host, port))


@click.command(short_help="Lead a run whose workers are on other machines.")
@click.argument("scenario")
@_load_options(
    click.option("--workers", required=True, type=click.IntRange(1, 256), help="How many will come."),
    click.option("--host", default="127.0.0.1", help="The address to listen on."),
    click.option("--port", default=5557, type=_PORT, help="The port."),
)
def master(scenario: str, host: str, port: int, **given: Any) -> int:
    """Wait for workers, then run SCENARIO with them and judge it.

    Workers and the master speak without encryption or passwords, so let them meet in a network of your own. No keys
    and tickets are sent: each worker has its own copy of the crowd's file.

    Example, with a system that runs at 10.0.0.5:
      python -m loadtest seed --users 10000 --out crowd ...
      python -m loadtest master steady --crowd crowd --workers 4 --host 10.0.0.1
      python -m loadtest worker --master 10.0.0.1:5557 --crowd crowd      (four times, elsewhere)
    """
    from loadtest.running.master import run_headless  # noqa: PLC0415 - it patches the process

    return run_headless(Options(scenario=scenario, remote=True, bind=(host, port), **given))


@click.command(short_help="Make load on this machine, for a master elsewhere.")
@click.option("--master", required=True, metavar="HOST:PORT", help="Where the master listens.")
@click.option("--crowd", type=_FILE, help="This machine's copy of the crowd's file; else the path the master names.")
@click.option("--tethered", is_flag=True, hidden=True, help="End when standard input ends.")
def worker(master: str, crowd: Path | None, *, tethered: bool) -> int:
    """Connect to a master, and make the load that it asks for until it says that all is over.

    The file of the crowd holds keys and tickets: copy it over a channel of your own, and give it with --crowd.
    """
    host, _, port = master.rpartition(":")
    if not host or not port.isdecimal():
        raise click.BadParameter("must be HOST:PORT", param_hint="--master")
    from loadtest.running.worker import work  # noqa: PLC0415 - it patches the process

    return work((host, int(port)), crowd, tethered=tethered)


@click.command(short_help="Settle users in a database, fast.")
@click.option("--users", type=click.IntRange(2, 1_000_000), required=True, help="How many people, with a device each.")
@click.option(
    "--rooms",
    type=click.Choice(("pairs", "groups", "one")),
    default="pairs",
    help="Conversations of two, groups of many sizes, or one room of everybody.",
)
@click.option(
    "--database-url",
    envvar="VARDE_DATABASE_URL",
    required=True,
    help="A migrated PostgreSQL. Or VARDE_DATABASE_URL, where nobody reads its password in the list of processes.",
)
@click.option("--keys", type=_KEYS, required=True, help="The servers' folder of keys: $VARDE_DATA/keys.")
@click.option("--relay-url", required=True, help="Where users connect, such as wss://relay.example.org/v1/relay.")
@click.option("--api-url", default="", help="Where they call the API, for the scenario rest.")
@click.option("--authority", type=_FILE, help="PEM of whom users trust for wss. Default: the system's.")
@click.option("--out", type=_FILE, required=True, help="The file to write, 0600: it holds keys and tickets.")
@click.option("--seed", type=int, default=1, help="For the sizes of rooms.")
@click.option("--prekeys", type=click.IntRange(0, 100), default=5, help="For each device.")
@click.option("--into-existing", is_flag=True, help="Add to a database in which people live already.")
def seed(*, users: int, rooms: str, **order: str | int | Path | None) -> None:
    r"""Settle accounts, devices, conversations and tickets in a database, fast, and write the file of a crowd.

    It writes what sign-up would have written, by COPY and in one transaction: 10,000 people take some ten seconds.
    Tickets and access tokens are good for a day; then seed again. Never point it at people's own data.

    Beside a `varde up` that runs in this folder:
      python -m loadtest seed --users 1000 --database-url "$(python -m storage url)" \
        --keys .varde/keys --relay-url ws://127.0.0.1:8401/v1/relay \
        --api-url http://127.0.0.1:8400 --into-existing --out build/crowd
      python -m loadtest run steady --users 1000 --rate 100 --crowd build/crowd
    """
    given = {name: value for name, value in order.items() if value is not None}
    texts = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    crowd = run_seeding(Order(seats=users, rooms=sizes_of(rooms, users), **texts), click.echo)  # type: ignore[arg-type]  # click checked
    click.echo(f"{order['out']} has the keys of {len(crowd.seats):,} devices")


STOPPED = 130
"""Ctrl-C outside a run, as shells give it for SIGINT. A run that is stopped is INVALID, and writes what it has."""
EXITS = "Exit codes: 0 met; 1 missed; 2 INVALID (the generator was the limit, or it was interrupted); 3 could not run."
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


class _Group(click.Group):
    """Lists commands in the order in which they were added, that of their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


@click.group(cls=_Group, epilog=EXITS, context_settings=_CONTEXT)
def loadtest() -> None:
    """Load on Varde's relay and API, with honest latency, and a gate for releases.

    A first run:
      python -m loadtest list
      python -m loadtest run smoke
      python -m loadtest run steady --users 1000 --rate 100 --seconds 60
    """


for _each in (run, catalogue, ui, master, worker, seed, compare, slopes, index, publish, preflight, calibrate):
    loadtest.add_command(_each)
for _each in (loadtest, *loadtest.commands.values()):
    _parts = inspect.cleandoc(_each.help or "").split("\n\n")
    _each.help = "\n\n".join(f"\b\n{part}" if "\n  " in part else part for part in _parts)  # keeps lines of examples


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: whatever a command raises is told on standard error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        returned = loadtest.main(given or ["--help"], standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        return STOPPED
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else CouldNotRun.exit_code
    except click.ClickException as error:
        error.show()
        return CouldNotRun.exit_code
    except Exception:  # noqa: BLE001 - the fence: nothing but an exit code leaves the program
        traceback.print_exc()
        return CouldNotRun.exit_code
    return returned if isinstance(returned, int) else 0
