"""Whether a load balancer may send clients to this node, and why not. Whether the node lives is another question."""

from typing import Final, NoReturn

import trio

from domain.ports import Bus, SchemaStore, StoreUnavailable
from relay.cache.outage import Outage
from relay.delivery.hub import Hub
from relay.fleet.peer_nodes import PeerNodes

LOOK: Final = 5.0
"""Seconds between two looks at the schema: nobody changes it in a hurry."""


class Readiness:
    """Collects what makes a node unready. An outage of the bus does not, unless other nodes hear it.

    A bus that is away costs time, and no message. If all nodes lose it at once, turning everybody away would make an
    outage of it.
    """

    def __init__(
        self,
        schema: SchemaStore,
        bus: Bus,
        outage: Outage,
        hub: Hub,
        peer_nodes: PeerNodes,
        draining: trio.Event,
        *,
        capacity: int,
    ) -> None:
        """`capacity` is how many connections the node takes."""
        self._schema = schema
        self._bus = bus
        self._outage = outage
        self._hub = hub
        self._peer_nodes = peer_nodes
        self._draining = draining
        self._capacity = capacity
        self._schema_fits = True  # the program does not start on another one

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not, in single words; nothing when the node is ready."""
        found = {
            "draining": self._draining.is_set(),
            "database": self._outage.lasting,
            "schema": not self._schema_fits,
            "bus": not self._bus.connected and any(node.report.bus for node in self._peer_nodes.others),
            "full": len(self._hub) >= self._capacity,
        }
        return tuple(reason for reason, holds in found.items() if holds)

    async def run(self) -> NoReturn:
        """Look at the schema, for as long as the node lives."""
        while True:
            await trio.sleep(LOOK)
            try:
                self._schema_fits = await self._schema.fits()
            except StoreUnavailable:
                self._outage.failed()
