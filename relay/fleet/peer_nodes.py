"""The other relay nodes, and this one among them: a lease in the store, renewed each second.

The table of nodes is the one place that says who is there. A beat also brings what the operator wants of this node.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

import trio
from msgspec.structs import replace

from domain.fleet.model import LEASE_MS, Node, NodeReport, Order
from domain.fleet.ports import NodeStore
from domain.ports import StoreUnavailable
from relay.delivery.presence import PresenceNotifier
from relay.fleet.publisher import Publisher
from relay.fleet.stale_heads import StaleHeads

BEAT: Final = 1.0
"""Seconds between two beats. Twice that is how late a node may hear what another one committed in silence."""
LEASE: Final = LEASE_MS / 1_000
ANSWER: Final = LEASE / 2
"""Seconds for the store to answer a beat: a second one shall fit into the lease."""

_log: Final = logging.getLogger("varde.relay")


class PeerNodes:
    """Tells the publisher when this node is alone, so that it saves the bus.

    Each publication costs a round trip to the database and an echo back, which on a single node is for nobody. No
    message is missed by saving it. A newcomer beats before it listens, so whoever was alone sees it within a beat,
    publishes from then on, and counts that in `resumed`. The newcomer sees the count move and reads the log once more.
    It is a count and not a flag, because silence may begin and end between two beats of the other node.
    """

    def __init__(
        self,
        store: NodeStore,
        publisher: Publisher,
        stale_heads: StaleHeads,
        presence_notifier: PresenceNotifier,
        *,
        report: Callable[[], NodeReport],
        obey: Callable[[Order], None],
    ) -> None:
        """`report` says how this node is, `obey` does what the operator wants. A node is not alone at first."""
        self._store = store
        self._publisher = publisher
        self._stale_heads = stale_heads
        self._presence_notifier = presence_notifier
        self._make_report = report
        self._obey = obey
        self._resumed = 0
        self._done = 0
        self._others: Mapping[str, Node] = {}
        self._beats = 0
        """That were answered."""
        self._answering_since: float | None = None
        """None: the last beat was not answered."""
        self.address = ""
        """Where this node listens, once it does."""

    @property
    def others(self) -> Sequence[Node]:
        """The other nodes that are alive, as they last said."""
        return tuple(self._others.values())

    async def run(self) -> NoReturn:
        """Renew the lease, for as long as the node lives."""
        while True:
            await trio.sleep(BEAT)
            await self.beat()

    async def beat(self) -> None:
        """Renew the lease, hear who is there and what is wanted. Raises nothing: an outage shows everywhere else."""
        report, nodes = self._report(), None
        with trio.move_on_after(ANSWER):
            try:
                nodes = await self._store.beat(report)
            except StoreUnavailable:
                nodes = None
        if nodes is None:
            # Others may come meanwhile. While nobody can know, everything is told.
            self._answering_since = None
            self._resume()
            return
        self._note_nodes(report.name, nodes)
        if self._resumed != report.resumed:
            await self.beat()  # at once, for others wait for it

    async def leave(self) -> None:
        """End the lease: the node has ended in good order."""
        # Shielded: a node that is cancelled leaves in good order too. Others would show its people for the rest of its
        # lease.
        with trio.move_on_after(ANSWER, shield=True):
            try:
                await self._store.leave(self._report().name)
            except StoreUnavailable:
                _log.info("the lease of this node ends by itself")

    def _report(self) -> NodeReport:
        return replace(self._make_report(), address=self.address, resumed=self._resumed, done=self._done)

    def _note_nodes(self, own: str, nodes: Sequence[Node]) -> None:
        was_away = self._answering_since is None
        if self._answering_since is None:
            self._answering_since = trio.current_time()
        self._note_others({node.report.name: node for node in nodes if node.report.name != own}, was_away=was_away)
        if self._others:
            self._resume()
        elif self._beats:  # not with the first one: of two nodes that start at once, neither may see the other in it
            self._publisher.alone = True
        self._beats += 1
        order = next((node.order for node in nodes if node.report.name == own), Order())
        if order.number != self._done:
            self._done = order.number
            self._obey(order)

    def _note_others(self, found: Mapping[str, Node], *, was_away: bool) -> None:
        # After an outage every lease seems to have ended, because nobody could renew one.
        patient = trio.current_time() < (self._answering_since or 0.0) + LEASE
        before = self._others
        self._others = {name: node for name, node in found.items() if node.alive or (patient and name in before)}
        gone = before.keys() - self._others.keys()
        for name in gone:
            if name in found:
                _log.warning("the node %s has died", name)
            self._presence_notifier.forget_node(name)
        moved = any(
            node.report.resumed != (before[name].report.resumed if name in before else 0)
            for name, node in self._others.items()
        )
        # A node that ended may have had no time left to publish what it had committed and acked, and who is alone now
        # reads no tail of the journal: without this look it would take the slow round of `relay.fleet.resync`.
        # Whatever the first beat shows was committed before anybody listened here.
        if gone or (self._beats and self._others and (moved or was_away)):
            self._stale_heads.note(None)

    def _resume(self) -> None:
        if self._publisher.alone:
            self._publisher.alone = False
            self._resumed += 1
