"""Whether other relay nodes are there: each says so now and then, and one that hears nobody tells nobody."""

from typing import Final, NoReturn

import trio

from domain.events import NodeHere
from relay.delivery.hub import Hub
from relay.fleet.publisher import Publisher

BEAT: Final = 2.0
"""Seconds between two words of a node."""
SILENCE: Final = 3 * BEAT
"""Seconds without a word of anybody after which a node believes to be alone. At its start it takes one beat: whoever is
there answers a newcomer at once."""


class PeerNodes:
    """Who is alone saves the bus: a round through the database for each turn of the announcer, and its echo.

    Nobody misses a message by it. A newcomer says at its start that it is there; who was alone answers that it was,
    and from then on rings for all it commits. What it committed before is in the log by then, where the newcomer looks
    because of the answer. Should one of these words get lost, the slow round of `relay.fleet.resync` looks.
    """

    def __init__(self, publisher: Publisher, hub: Hub, *, node: str) -> None:
        """`node` is this one's name. Nobody is alone at first."""
        self._publisher = publisher
        self._hub = hub
        self._node = node
        self._others: dict[str, float] = {}
        """When each was heard last."""
        self._expected_until = trio.current_time() + BEAT

    def note_event(self, event: NodeHere) -> None:
        """Another node is there, or this one hears itself."""
        if event.node == self._node:
            return
        newcomer = event.node not in self._others
        self._others[event.node] = trio.current_time()
        was_alone = self._publisher.alone
        self._expect()
        if newcomer and not was_alone:
            self._publisher.publish(NodeHere(self._node, quiet=False))
        if event.quiet:
            self._hub.reread_all()

    def doubt(self) -> None:
        """Words may have been lost: somebody may be there."""
        self._expect()

    async def run(self) -> NoReturn:
        """Say that this node is there, for as long as it lives."""
        while True:
            self._publisher.publish(NodeHere(self._node, quiet=False))
            await trio.sleep(BEAT)
            now = trio.current_time()
            self._others = {node: heard_at for node, heard_at in self._others.items() if heard_at + SILENCE > now}
            self._publisher.alone = now >= self._expected_until

    def _expect(self) -> None:
        self._expected_until = trio.current_time() + SILENCE
        if self._publisher.alone:
            self._publisher.alone = False
            self._publisher.publish(NodeHere(self._node, quiet=True))
