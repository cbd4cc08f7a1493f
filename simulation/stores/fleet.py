"""The relay nodes in memory, by Trio's clock: a test with a mocked clock lets leases end by moving it."""

from collections.abc import Sequence

import trio

from domain.fleet.model import FORGET_MS, Action, Node, NodeReport, Order
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory


class MemoryNodes:
    """A `domain.fleet.ports.NodeStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def beat(self, report: NodeReport) -> Sequence[Node]:
        """As promised."""
        await self._interference.let_through()
        _, order, _ = self._memory.nodes.get(report.name, (report, Order(), 0.0))
        self._memory.nodes[report.name] = report, order, trio.current_time()
        return self._list()

    async def leave(self, name: str) -> None:
        """As promised."""
        await self._interference.let_through()
        self._memory.nodes.pop(name, None)

    async def list_nodes(self) -> Sequence[Node]:
        """As promised."""
        await self._interference.let_through()
        return self._list()

    async def order(self, name: str, action: Action, percent: int = 0) -> int | None:
        """As promised."""
        await self._interference.let_through()
        if name not in self._memory.nodes:
            return None
        report, order, seen = self._memory.nodes[name]
        if order.action is not Action.DRAIN:
            order = Order(order.number + 1, action, percent)
            self._memory.nodes[name] = report, order, seen
        return order.number

    def _list(self) -> Sequence[Node]:
        now = trio.current_time()
        found = (
            Node(report, order, round((now - seen) * 1_000))
            for _, (report, order, seen) in sorted(self._memory.nodes.items())
        )
        return [node for node in found if node.age_ms < FORGET_MS]


class MemorySchema:
    """A `domain.ports.SchemaStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def fits(self) -> bool:
        """As promised."""
        await self._interference.let_through()
        return self._memory.schema_fits
