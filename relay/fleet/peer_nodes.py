"""Whether there are other relay nodes: each says so every few seconds, and a node that hears of none stays quiet."""

from typing import Final, NoReturn

import trio

from domain.events import NodeHere
from relay.delivery.hub import Hub
from relay.fleet.publisher import Publisher

BEAT: Final = 2.0
"""Seconds between two `NodeHere` of a node."""
SILENCE: Final = 3 * BEAT
"""Seconds without an event from any other node after which a node takes itself to be alone. After its start one beat
is enough: other nodes answer a new one at once."""


class PeerNodes:
    """Tells the publisher when this node is alone, so that it saves the bus.

    Each publication costs a round trip to the database and an echo back, which on a single node is for nobody. No
    message is missed by saving it: a new node says at its start that it is there. A node that was alone answers that it
    was quiet, and publishes from then on. What it committed while it was quiet is in the log by then, and the new node
    reads the log because of that answer. If one of these events is lost, the slow round of `relay.fleet.resync` finds
    what was missed.
    """

    def __init__(self, publisher: Publisher, hub: Hub, *, node: str) -> None:
        """`node` is this one's name. At first it does not take itself to be alone."""
        self._publisher = publisher
        self._hub = hub
        self._node = node
        self._others: dict[str, float] = {}
        """When each was heard last."""
        self._expected_until = trio.current_time() + BEAT

    def note_event(self, event: NodeHere) -> None:
        """Note that a node is there. It may be this one's own event."""
        if event.node == self._node:
            return
        is_new = event.node not in self._others
        self._others[event.node] = trio.current_time()
        was_alone = self._publisher.alone
        self.expect()
        if is_new and not was_alone:
            self._publisher.publish(NodeHere(self._node, quiet=False))
        if event.quiet:
            self._hub.reread_all()

    def expect(self) -> None:
        """Take it that there are other nodes, because one was heard or events may have been lost."""
        self._expected_until = trio.current_time() + SILENCE
        if self._publisher.alone:
            self._publisher.alone = False
            self._publisher.publish(NodeHere(self._node, quiet=True))

    async def run(self) -> NoReturn:
        """Say that this node is there, for as long as it lives."""
        while True:
            self._publisher.publish(NodeHere(self._node, quiet=False))
            await trio.sleep(BEAT)
            now = trio.current_time()
            self._others = {node: heard_at for node, heard_at in self._others.items() if heard_at + SILENCE > now}
            self._publisher.alone = now >= self._expected_until
