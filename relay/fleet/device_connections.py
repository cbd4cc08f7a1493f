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

    def draw_number(self) -> int:
        """Return the number of a connection. To be called when its handshake is answered for the first time."""
        # Not when the peer proves to be alive, which is when it enters the hub. A node that is seconds late reads that
        # proof long after the client gave up and connected elsewhere. It would then replace the living connection, and
        # the client would be told not to come back: it never did, and missed its messages. Who sends a proof has
        # read our answer, so the answer is older than whatever the client did after it gave up.
        # The time alone would let a node whose clock is ahead win against a newer connection. So a number is also above
        # all that were heard of (Lamport's clock): the device was connected there before it came here, and the event of
        # that has long arrived. A number from the database would be a write for each handshake.
        self._latest = max(self._clock(), self._latest + 1)
        return self._latest

    def enter(self, peer: Peer) -> None:
        """Add a peer that has proven to be alive to the hub; it replaces older connections of its device anywhere."""
        if self._hub.add(peer):
            self._tell(peer)

    def note_event(self, event: DeviceConnected) -> None:
        """Cut the device's connection here, unless it is the newer one: then the other node has to cut its own."""
        self._latest = max(self._latest, event.number)
        peer = self._hub.find(event.device)
        if peer is None or event.node == self._node:
            return
        # The names decide between equal numbers, so that exactly one of the two stays.
        if (peer.number, self._node) < (event.number, event.node):
            self._hub.remove(peer)
            peer.connection.cut(CloseCode.REPLACED)
        else:
            # The older one entered its hub after it had heard of this one, and found nobody to cut then.
            self._tell(peer)

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
