"""How many connections each node has to shed for all to be equally full."""

from domain.fleet.model import LEASE_MS, Node, NodeReport, NodeState, Order, excess_percents


def node(
    name: str, connections: int, *, capacity: int = 100, age_ms: int = 0, state: NodeState = NodeState.SERVING
) -> Node:
    """A node that is so full."""
    report = NodeReport(
        name=name, address="", version="9", started_ms=0, connections=connections, capacity=capacity, state=state
    )
    return Node(report, Order(), age_ms)


def test_the_fuller_ones_shed() -> None:
    """Each what is beyond its share of all connections, by its capacity; who has less or none sheds nothing."""
    assert excess_percents([node("full", 80), node("half", 40), node("new", 0)]) == {"full": 50}
    assert excess_percents([node("large", 150, capacity=300), node("small", 50)]) == {}
    assert excess_percents([node("large", 200, capacity=300), node("small", 100)]) == {"small": 25}


def test_who_is_dead_or_drains_takes_no_part() -> None:
    """Nobody sheds to a node that takes nobody, nor because of one."""
    away = node("dead", 0, age_ms=LEASE_MS), node("draining", 0, state=NodeState.DRAINING)
    assert excess_percents([node("one", 80), *away]) == {}
    assert excess_percents(list(away)) == {}
