"""The store of relay nodes. All its times are by the store's own clock, so nodes' clocks need not agree."""

from collections.abc import Sequence
from typing import Protocol

from domain.fleet.model import Action, Node, NodeReport


class NodeStore(Protocol):
    """The nodes by name. Every call may raise StoreUnavailable."""

    async def beat(self, report: NodeReport) -> Sequence[Node]:
        """Renew a node's lease, and return every node of the last minutes, itself included. One small statement."""

    async def leave(self, name: str) -> None:
        """Forget a node that has ended in good order."""

    async def list_nodes(self) -> Sequence[Node]:
        """Return every node of the last minutes by name, the dead ones included."""

    async def order(self, name: str, action: Action, percent: int = 0) -> int | None:
        """Tell a node what is wanted of it; return the order's number, None when there is no such node.

        A node that was told to drain takes no other order.
        """
