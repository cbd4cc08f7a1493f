"""The contract of relay nodes: each is there as long as it says so, and is told what is wanted of it, once."""

from msgspec.structs import replace

from domain.fleet.model import Action, NodeReport, NodeState, Order
from domain.ports import Stores

ONE = NodeReport(
    name="one-1", address="192.0.2.1:8401", version="0.1.0", started_ms=1, connections=3, capacity=10, resumed=2
)
OTHER = replace(ONE, name="other-1", connections=0, bus=False)


async def test_a_beat_shows_everybody(nodes: tuple[Stores, Stores]) -> None:
    """A node that beats learns of the others what they last said, and each is there once."""
    assert [node.report for node in await nodes[0].nodes.beat(ONE)] == [ONE]
    await nodes[1].nodes.beat(OTHER)
    draining = replace(ONE, state=NodeState.DRAINING, connections=2, resumed=3, done=1)
    found = {node.report.name: node for node in await nodes[0].nodes.beat(draining)}
    assert {name: node.report for name, node in found.items()} == {"one-1": draining, "other-1": OTHER}
    assert all(node.alive and node.order == Order() for node in found.values())
    assert [node.report for node in await nodes[1].nodes.list_nodes()] == [draining, OTHER]


async def test_who_leaves_is_gone(stores: Stores) -> None:
    """A node that ended in good order is not listed as dead; the other one stays."""
    await stores.nodes.beat(ONE)
    await stores.nodes.beat(OTHER)
    await stores.nodes.leave("one-1")
    await stores.nodes.leave("nobody")
    assert [node.report.name for node in await stores.nodes.list_nodes()] == ["other-1"]


async def test_an_order_stands_until_the_next(nodes: tuple[Stores, Stores]) -> None:
    """It comes back with each beat under its number, whatever the node says of itself meanwhile."""
    await nodes[0].nodes.beat(ONE)
    assert await nodes[1].nodes.order("one-1", Action.SHED, 20) == 1
    for _ in range(2):
        (node,) = await nodes[0].nodes.beat(replace(ONE, connections=4))
        assert node.order == Order(1, Action.SHED, 20)
    assert await nodes[1].nodes.order("one-1", Action.SHED, 20) == 2
    (node,) = await nodes[0].nodes.beat(ONE)
    assert node.order.number == 2


async def test_who_drains_takes_no_other_order(stores: Stores) -> None:
    """Draining cannot be taken back: connections have been asked to go by then. Nobody is told nothing."""
    await stores.nodes.beat(ONE)
    assert await stores.nodes.order("one-1", Action.DRAIN) == 1
    assert await stores.nodes.order("one-1", Action.SHED, 5) == 1
    (node,) = await stores.nodes.list_nodes()
    assert node.order == Order(1, Action.DRAIN)
    assert await stores.nodes.order("nobody", Action.DRAIN) is None
