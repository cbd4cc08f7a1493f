"""One connection of each device in the whole fleet: whoever connects elsewhere replaces its older connection."""

from collections.abc import Callable
from typing import Final

from domain.people.events import DeviceConnected
from domain.ports import Bus, Clock
from relay.connection.peer import Peer
from relay.delivery.hub import Hub
from varde_contract.close_codes import CloseCode

MARGIN_MS: Final = 10_000
"""How long a bus that lost something may have done so before it was known: longer than it takes to notice a stall."""


class DeviceConnections:
    """Numbers connections, tells other nodes of them, and cuts those that were replaced elsewhere."""

    def __init__(
        self, hub: Hub, bus: Bus, *, publish: Callable[[DeviceConnected], None], node: str, clock: Clock
    ) -> None:
        """`publish` tells the other nodes, `node` is this one's name."""
        self._hub = hub
        self._bus = bus
        self._publish = publish
        self._node = node
        self._clock = clock
        self._latest = 0
        self._down_ms = 0.0

    def enter(self, peer: Peer) -> None:
        """Add a peer that has proven to be alive to the hub; it replaces older connections of its device anywhere."""
        # The time alone would let a node whose clock is ahead win against a newer connection, which would then be told
        # not to come back. So a number is also above all that were heard of (Lamport's clock): the device was connected
        # there before it came here, and the event of that has long arrived. A number from the database would be a write
        # for each handshake.
        self._latest = peer.number = max(self._clock(), self._latest + 1)
        self._hub.add(peer)
        self._tell(peer)

    def note_event(self, event: DeviceConnected) -> None:
        """Cut the device's connection here, unless it is the newer one."""
        self._latest = max(self._latest, event.number)
        peer = self._hub.find(event.device)
        # The names decide between equal numbers, so that exactly one of the two stays.
        if peer is not None and (peer.number, self._node) < (event.number, event.node):
            self._hub.remove(peer)
            peer.connection.cut(CloseCode.REPLACED)

    def tell_again(self) -> None:
        """Tell once more of those who connected while the bus may have lost it."""
        # Not of all: a node has ten thousand, and every node would at once hear those of all others.
        down_ms = self._bus.down_seconds * 1_000
        since = self._clock() - MARGIN_MS - (down_ms - self._down_ms)
        self._down_ms = down_ms
        for peer in self._hub.peers:
            if peer.number >= since:
                self._tell(peer)

    def _tell(self, peer: Peer) -> None:
        self._publish(DeviceConnected(self._node, peer.device, peer.number))
