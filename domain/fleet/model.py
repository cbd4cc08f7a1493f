"""What a relay node says of itself, and what it is told to do."""

from enum import StrEnum
from typing import Final

from msgspec import Struct

LEASE_MS: Final = 6_000
"""A node that has said nothing for so long is dead. Three times what a planned switch of the database takes."""
FORGET_MS: Final = 600_000
"""A dead node is still listed for so long, for whoever looks for it."""
PERCENT: Final = 100


class NodeState(StrEnum):
    """Whether a node takes newcomers."""

    SERVING = "serving"
    DRAINING = "draining"


class Action(StrEnum):
    """What a node may be told to do."""

    NONE = "none"
    DRAIN = "drain"
    SHED = "shed"


class Order(Struct, frozen=True):
    """What is wanted of a node. `percent` is the share of its connections that it is to shed.

    The number moves with each order. A node compares it with the last one it carried out, so that a lost answer costs
    time and no order, and none is carried out twice.
    """

    number: int = 0
    action: Action = Action.NONE
    percent: int = 0


class NodeReport(Struct, frozen=True, kw_only=True):
    """What a node says of itself with each beat. `name` is new with each start; `done` is its last order's number.

    `resumed` counts how often it began to publish after it had been alone: whoever sees it move reads what was
    committed in silence. `bus` is whether it hears the others.
    """

    name: str
    address: str
    version: str
    started_ms: int
    connections: int
    capacity: int
    state: NodeState = NodeState.SERVING
    resumed: int = 0
    bus: bool = True
    done: int = 0


class Node(Struct, frozen=True):
    """A node as the store knows it. `age_ms` is the time since its last beat, by the store's clock."""

    report: NodeReport
    order: Order
    age_ms: int

    @property
    def alive(self) -> bool:
        """Whether its lease has not ended."""
        return self.age_ms < LEASE_MS


def excess_percents(nodes: list[Node]) -> dict[str, int]:
    """Return what each node has to shed for all to be equally full, in percent of its own, by its name.

    Nodes that are dead or draining neither give nor take. Nobody sheds less than one percent.
    """
    serving = [node.report for node in nodes if node.alive and node.report.state is NodeState.SERVING]
    capacity = sum(report.capacity for report in serving) or 1
    full = sum(report.connections for report in serving) / capacity
    shares = {
        report.name: round(PERCENT * (1 - full * report.capacity / report.connections))
        for report in serving
        if report.connections
    }
    return {name: share for name, share in shares.items() if share > 0}
