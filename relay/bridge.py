"""From the bus to the hub: what happens elsewhere reaches the listeners here.

Refuses to believe that the bus tells everything: after a gap, everybody here reads on.
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from contract.frames import ChangeKind
from domain import events as e
from domain.rosters import Rosters
from relay.changes import Changes
from relay.company import Company
from relay.hub import Hub
from relay.metrics.counters import Metrics
from relay.revocations import RevocationFeed
from relay.showing import Showing
from relay.telling import Telling


class Bridge:
    """`receive` and `resync` are what the bus calls: plain functions, one row of a table per event."""

    def __init__(  # noqa: PLR0913 - every part that hears of something is named where it is handed in
        self,
        *,
        node: str,
        hub: Hub,
        rosters: Rosters,
        changes: Changes,
        telling: Telling,
        showing: Showing,
        revocations: RevocationFeed,
        company: Company,
        metrics: Metrics,
    ) -> None:
        """`node` is this one's name: its own happenings are told already."""
        self._node = node
        self._hub = hub
        self._rosters = rosters
        self._changes = changes
        self._telling = telling
        self._showing = showing
        self._revocations = revocations
        self._company = company
        self._metrics = metrics
        self._ways: Final[dict[type[Struct], Callable[[Any], None]]] = {
            e.MessagesCommitted: self._messages_committed,
            e.MembershipChanged: self._membership_changed,
            e.DevicesChanged: self._devices_changed,
            e.ProfileChanged: self._profile_changed,
            e.TicketsRevoked: revocations.hear,
            e.KeysLow: self._keys_low,
            e.DeliveredMoved: self._moved,
            e.ReadMoved: self._moved,
            e.TypingMoved: self._moved,
            e.PresenceMoved: self._presence_moved,
            e.NodeHere: company.hear,
        }

    def receive(self, event: e.Event) -> None:
        """Take an event from the bus."""
        self._metrics.heard[type(event)] += 1
        self._ways[type(event)](event)

    def resync(self) -> None:
        """Events may have been lost: look everything up again."""
        self._metrics.resyncs += 1
        self._rosters.forget_all()
        self._hub.ring_all()
        self._company.doubt()
        self._changes.note_unknown()
        self._revocations.ask()

    def _messages_committed(self, event: e.MessagesCommitted) -> None:
        if event.node != self._node:
            self._hub.ring(event.conversation, event.head)

    def _membership_changed(self, event: e.MembershipChanged) -> None:
        self._rosters.forget(event.conversation)
        self._changes.note(event.conversation, ChangeKind.MEMBERSHIP)

    def _devices_changed(self, event: e.DevicesChanged) -> None:
        self._rosters.forget(event.conversation)
        self._changes.note(event.conversation, ChangeKind.DEVICES)

    def _profile_changed(self, event: e.ProfileChanged) -> None:
        self._rosters.forget_profile(event.profile)

    def _keys_low(self, event: e.KeysLow) -> None:
        peer = self._hub.find(event.device)
        if peer is not None:
            peer.tell_changed(ChangeKind.KEYS_LOW, None, event.left)

    def _moved(self, event: e.DeliveredMoved | e.ReadMoved | e.TypingMoved) -> None:
        if event.node != self._node:
            self._telling.tell_soon(event)

    def _presence_moved(self, event: e.PresenceMoved) -> None:
        if event.node != self._node:
            self._showing.show_soon(event)
