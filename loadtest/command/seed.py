"""`python -m loadtest seed`: accounts, devices, conversations and tickets in a database, and the file of their keys."""

from pathlib import Path
from typing import Final

import click

from loadtest.crowd.crowd import Order, run_seeding
from loadtest.scenarios.plan import GROUPS, PAIRS, Sizes

_FOLDER: Final = click.Path(path_type=Path, file_okay=False, exists=True)
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


def _sizes(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Sizes | None:
    """Read `3:50,8:40,64:10`: sizes of groups and their shares."""
    if text is None:
        return None
    try:
        pairs = [part.partition(":") for part in text.split(",")]
        weighted = tuple((int(size), float(share)) for size, _, share in pairs)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not sizes with shares, such as 3:50,8:40,64:10") from None
    if not all(size > 1 and share > 0 for size, share in weighted):
        raise click.BadParameter("a room has two members or more, and a share above 0")
    return Sizes(weighted)


@click.command(short_help="Settle users in a database, fast.")
@click.option("--users", type=click.IntRange(2, 1_000_000), required=True, help="How many people, with a device each.")
@click.option(
    "--rooms",
    type=click.Choice(("pairs", "groups", "one")),
    default="pairs",
    help="Conversations of two, groups of many sizes, or one room of everybody.",
)
@click.option("--sizes", callback=_sizes, metavar="SIZE:SHARE,...", help="Of groups, with their shares.")
@click.option(
    "--database-url",
    envvar="VARDE_DATABASE_URL",
    required=True,
    help="A migrated PostgreSQL. Or VARDE_DATABASE_URL, where nobody reads its password in the list of processes.",
)
@click.option("--keys", type=_FOLDER, required=True, help="The servers' folder of keys: $VARDE_DATA/keys.")
@click.option("--relay-url", required=True, help="Where users connect, such as wss://relay.example.org/v1/relay.")
@click.option("--api-url", default="", help="Where they call the API, for the scenario rest.")
@click.option("--authority", type=_FILE, help="PEM of whom users trust for wss. Default: the system's.")
@click.option("--out", type=_FILE, required=True, help="The file to write, 0600: it holds keys and tickets.")
@click.option("--seed", type=int, default=1, help="For the sizes of rooms.")
@click.option("--prekeys", type=click.IntRange(0, 100), default=5, help="For each device.")
@click.option("--into-existing", is_flag=True, help="Add to a database in which people live already.")
def seed(*, users: int, rooms: str, sizes: Sizes | None, **order: str | int | Path | None) -> None:
    r"""Settle accounts, devices, conversations and tickets in a database, fast, and write the file of a crowd.

    It writes what sign-up would have written, by COPY and in one transaction: 10,000 people take some ten seconds.
    Tickets and access tokens are good for a day; then seed again. Never point it at people's own data.

    Beside a `varde up` that runs in this folder:
      python -m loadtest seed --users 1000 --database-url "$(python -m storage url)" \
        --keys .varde/keys --relay-url ws://127.0.0.1:8401/v1/relay \
        --api-url http://127.0.0.1:8400 --into-existing --out build/crowd
      python -m loadtest run steady --users 1000 --rate 100 --crowd build/crowd
    """
    if sizes is not None and rooms != "groups":
        raise click.UsageError("--sizes is for --rooms groups")
    drawn = {"pairs": PAIRS, "groups": sizes or GROUPS, "one": Sizes(((users, 1.0),))}[rooms]
    given = {name: value for name, value in order.items() if value is not None}
    texts = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    crowd = run_seeding(Order(seats=users, rooms=drawn, **texts), click.echo)  # type: ignore[arg-type]  # click checked
    click.echo(f"{order['out']} has the keys of {len(crowd.seats):,} devices")
