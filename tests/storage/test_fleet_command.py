"""`varde node` and `varde fleet`: what operators see of the relay nodes, and tell them."""

import json
import time

import pytest
import trio
from click.testing import CliRunner, Result
from msgspec.structs import replace

from domain.fleet.model import Action, Node, NodeReport, NodeState, Order, excess_percents
from settings.storage import DatabaseUrl, StorageSettings
from storage.__main__ import main
from storage.stores import open_storage

HOUR_MS = 3_600_000
OSLO = NodeReport(
    name="oslo-1f",
    address="192.0.2.1:8401",
    version="0.1.0",
    started_ms=time.time_ns() // 1_000_000 - 2 * HOUR_MS,
    connections=900,
    capacity=1_000,
)
BERGEN = replace(OSLO, name="bergen-2a", connections=0)
NODES = (OSLO, BERGEN, replace(OSLO, name="oslo-33", connections=300))


@pytest.fixture
def store(database_url: str) -> None:
    """Three nodes that have just beaten."""

    async def beat() -> None:
        settings = StorageSettings(database=DatabaseUrl(database_url), pool_min=1, pool_max=1)
        async with open_storage(settings) as stores:
            for report in NODES:
                await stores.nodes.beat(report)

    trio.run(beat)


def run(database_url: str, *words: str) -> Result:
    """Run the command on this database."""
    return CliRunner(env={"VARDE_DATABASE_URL": database_url}).invoke(main, words)


@pytest.mark.usefixtures("store")
def test_the_nodes_are_listed(database_url: str) -> None:
    """Each with how full it is, and all of them together; the same for programs."""
    for words in (("node", "list"), ("fleet", "status", "--once")):
        said = run(database_url, *words).output
        (line,) = [line for line in said.splitlines() if line.startswith("oslo-1f")]
        assert [*line.split()][:9] == ["oslo-1f", "serving", "900/1000", "90", "%", "0.1.0", "2", "h", "0"]
        assert "3 of 3 nodes alive, 1200 of 3000 connections" in said
    found = json.loads(run(database_url, "node", "list", "--json").output)
    assert [(each["name"], each["alive"]) for each in found] == [
        ("bergen-2a", True),
        ("oslo-1f", True),
        ("oslo-33", True),
    ]


@pytest.mark.usefixtures("store")
def test_orders_are_for_one_node(database_url: str) -> None:
    """A beginning of its name will do if no other node has it; the order stands in the list until it is carried out."""
    assert run(database_url, "node", "drain", "berg").output == "bergen-2a drains 0 connections\n"
    assert run(database_url, "node", "shed", "oslo-33", "20").output == "oslo-33 sheds 20 % of 300 connections\n"
    listed = run(database_url, "node", "list").output
    assert "drain" in listed
    assert "shed 20" in listed
    refused = run(database_url, "node", "drain", "oslo")
    assert (refused.exit_code, "oslo-1f, oslo-33" in refused.output) == (1, True)
    assert run(database_url, "node", "drain", "trondheim").exit_code == 1
    assert run(database_url, "node", "shed", "oslo-33", "101").exit_code == 2


@pytest.mark.usefixtures("store")
def test_an_empty_node_is_filled(database_url: str) -> None:
    """Whoever has more than the average sheds that, and nobody else."""
    assert run(database_url, "node", "rebalance").output == "oslo-1f sheds 56 %\n"


def test_the_dead_and_the_draining_take_no_part() -> None:
    """Neither gives nor takes; nodes of different size become equally full."""

    def node(name: str, connections: int, capacity: int = 1_000, age_ms: int = 0, **changes: object) -> Node:
        report = replace(OSLO, name=name, connections=connections, capacity=capacity, **changes)
        return Node(report, Order(), age_ms)

    small, large = node("small", 150), node("large", 0, 2_000)
    aside = [node("dead", 0, age_ms=60_000), node("draining", 0, state=NodeState.DRAINING)]
    assert excess_percents([small, large, *aside]) == {"small": 67}
    assert excess_percents([node("small", 100), node("large", 200, 2_000), *aside]) == {}
    assert excess_percents([]) == {}
    assert Order().action == Action.NONE
