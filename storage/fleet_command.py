"""The commands `node` and `fleet` for operators: what the relay nodes are, and what is wanted of them.

They talk to no node. They read and write the table that every node reads each second, so they work from any machine
that reaches the database.
"""

import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, NoReturn, TypeVar

import click
import msgspec
import trio

from domain.fleet.model import PERCENT, Action, Node, excess_percents
from domain.fleet.ports import NodeStore
from settings.storage import StorageSettings
from storage import audit
from storage.stores import open_storage
from varde_contract.exception_groups import ungrouped
from varde_contract.limits import SECOND_MS

T = TypeVar("T")
REFRESH: Final = 1.0
"""Seconds between two looks of the live table: as often as nodes renew their rows."""
_HEADING: Final = ("NODE", "STATE", "CONNECTIONS", "FULL", "VERSION", "UP", "SEEN", "WANTED", "ADDRESS")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_name = click.argument("name")


@click.group()
def node() -> None:
    """List the relay nodes, and drain or shed them.

    NAME is a node's name as `list` shows it, or a beginning of it that no other node has.
    """


@click.group()
def fleet() -> None:
    """Watch all relay nodes."""


@node.command("list")
@_json
def list_nodes(*, as_json: bool) -> None:
    """List the relay nodes, and those that died in the last ten minutes."""
    _print(_ask(lambda store: store.list_nodes()), as_json=as_json)


@node.command()
@_name
@click.option("--wait", is_flag=True, help="Return when the node has ended.")
def drain(name: str, *, wait: bool) -> None:
    """Have a node ask its clients to go, finish what is under way, and end.

    It takes no newcomers from then on, and has ended after 25 seconds at the most, with exit code 0. This cannot be
    taken back. Under `varde up` or `varde relay --workers` it comes back, empty.
    """
    found = _ask(lambda store: _order(store, name, Action.DRAIN))
    click.echo(f"{found.report.name} drains {found.report.connections} connections")
    if wait:
        _ask(lambda store: _wait_gone(store, found.report.name))


@node.command()
@_name
@click.argument("percent", type=click.IntRange(1, PERCENT))
def shed(name: str, percent: int) -> None:
    """Have a node ask a share of its clients to connect anew, spread over up to 20 seconds.

    They come to whichever node the load balancer then chooses.
    """
    found = _ask(lambda store: _order(store, name, Action.SHED, percent))
    click.echo(f"{found.report.name} sheds {percent} % of {found.report.connections} connections")


@node.command()
def rebalance() -> None:
    """Have every node shed what it has above the average, so that an empty one fills."""
    shares = _ask(_rebalance)
    for name, percent in shares.items():
        click.echo(f"{name} sheds {percent} %")
    if not shares:
        click.echo("no node is fuller than the others")


@fleet.command()
@click.option("--once", is_flag=True, help="Print the table once, as without a terminal.")
@_json
def status(*, once: bool, as_json: bool) -> None:
    """Show all relay nodes, again each second until Ctrl-C."""
    if once or as_json or not sys.stdout.isatty():
        _print(_ask(lambda store: store.list_nodes()), as_json=as_json)
        return
    with suppress(KeyboardInterrupt):
        _ask(_watch)


async def _watch(store: NodeStore) -> NoReturn:
    while True:
        nodes = await store.list_nodes()
        click.clear()
        _print(nodes)
        await trio.sleep(REFRESH)


async def _rebalance(store: NodeStore) -> dict[str, int]:
    shares = excess_percents(list(await store.list_nodes()))
    for name, percent in shares.items():
        await _record(name, Action.SHED, percent)
        await store.order(name, Action.SHED, percent)
    return shares


async def _order(store: NodeStore, name: str, action: Action, percent: int = 0) -> Node:
    alive = [each for each in await store.list_nodes() if each.alive]
    # The whole name first: it may be the beginning of another one's.
    found = [each for each in alive if each.report.name == name] or [
        each for each in alive if each.report.name.startswith(name)
    ]
    if len(found) != 1:
        known = ", ".join(each.report.name for each in found or alive) or "none"
        raise click.ClickException(
            f"{'several nodes are' if found else 'no node is'} called {name}; there are: {known}"
        )
    await _record(found[0].report.name, action, percent)
    await store.order(found[0].report.name, action, percent)
    return found[0]


async def _record(name: str, action: Action, percent: int) -> None:
    what = {Action.DRAIN: audit.Action.NODE_DRAIN, Action.SHED: audit.Action.NODE_SHED}[action]
    await audit.record(StorageSettings.from_environ(os.environ), what, name, str(percent) if percent else "")


async def _wait_gone(store: NodeStore, name: str) -> None:
    while any(each.alive and each.report.name == name for each in await store.list_nodes()):  # noqa: ASYNC110
        await trio.sleep(REFRESH)


def _ask(question: Callable[[NodeStore], Awaitable[T]]) -> T:
    async def run() -> T:
        settings = StorageSettings.from_environ(os.environ)
        one = StorageSettings(database=settings.database, data=settings.data, pool_min=1, pool_max=1)
        async with open_storage(one) as stores:
            return await question(stores.nodes)

    with ungrouped():
        return trio.run(run)


def _print(nodes: Sequence[Node], *, as_json: bool = False) -> None:
    if as_json:
        shown = [msgspec.to_builtins(each.report) | {"age_ms": each.age_ms, "alive": each.alive} for each in nodes]
        click.echo(msgspec.json.encode(shown).decode())
        return
    table = [_HEADING, *map(_row, nodes)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for number, row in enumerate(table):
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(line, dim=True) if number == 0 else line)
    alive = [each.report for each in nodes if each.alive]
    total, capacity = sum(each.connections for each in alive), sum(each.capacity for each in alive)
    click.echo(f"{len(alive)} of {len(nodes)} nodes alive, {total} of {capacity} connections")


def _row(each: Node) -> tuple[str, ...]:
    report = each.report
    wanted = "" if each.order.number == report.done else f"{each.order.action} {each.order.percent or ''}".strip()
    return (
        report.name,
        "dead" if not each.alive else report.state if report.bus else "no bus",
        f"{report.connections}/{report.capacity}",
        f"{PERCENT * report.connections // report.capacity} %",
        report.version,
        _time(time.time_ns() // 1_000_000 - report.started_ms),
        _time(each.age_ms),
        wanted,
        report.address,
    )


def _time(milliseconds: int) -> str:
    seconds = max(0, milliseconds) // SECOND_MS
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
