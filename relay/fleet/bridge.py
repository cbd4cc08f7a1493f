"""From the bus to the hub: what happens elsewhere reaches the listeners here."""

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from domain import events
from domain.people import events as people_events
from domain.talk import events as talk_events
from relay.cache.revocations import RevocationFeed
from relay.cache.rosters import Rosters
from relay.delivery.hub import Hub
from relay.delivery.notifier import Notifier
from relay.delivery.presence import PresenceNotifier
from relay.fleet.changes import RosterChanges
from relay.fleet.peer_nodes import PeerNodes
from relay.metrics.counters import Metrics
from varde_contract.frames import ChangeKind


class Bridge:
    """`receive` and `resync` are what the bus calls: plain functions, one row of a table per event."""

    def __init__(  # noqa: PLR0913 - every part that hears of something is named where it is handed in
        self,
        *,
        node: str,
        hub: Hub,
        rosters: Rosters,
        changes: RosterChanges,
        notifier: Notifier,
        presence_notifier: PresenceNotifier,
        revocations: RevocationFeed,
        peer_nodes: PeerNodes,
        metrics: Metrics,
    ) -> None:
        """`node` is this one's name: its own happenings are told already."""
        self._node = node
        self._hub = hub
        self._rosters = rosters
        self._changes = changes
        self._notifier = notifier
        self._presence_notifier = presence_notifier
        self._revocations = revocations
        self._peer_nodes = peer_nodes
        self._metrics = metrics
        self._ways: Final[dict[type[Struct], Callable[[Any], None]]] = {
            talk_events.MessagesCommitted: self._messages_committed,
            talk_events.MembershipChanged: self._membership_changed,
            people_events.DevicesChanged: self._devices_changed,
            people_events.ProfileChanged: self._profile_changed,
            people_events.TicketsRevoked: revocations.note_event,
            people_events.KeysLow: self._keys_low,
            talk_events.DeliveredMoved: self._moved,
            talk_events.ReadMoved: self._moved,
            talk_events.TypingMoved: self._moved,
            talk_events.PresenceMoved: self._presence_moved,
            events.NodeHere: peer_nodes.note_event,
        }

    def receive(self, event: events.Event) -> None:
        """Take an event from the bus."""
        self._metrics.heard[type(event)] += 1
        self._ways[type(event)](event)

    def resync(self) -> None:
        """Events may have been lost: look everything up again."""
        self._metrics.resyncs += 1
        self._rosters.forget_all()
        self._hub.reread_all()
        self._peer_nodes.doubt()
        self._changes.note_unknown()
        self._revocations.ask()

    def _messages_committed(self, event: talk_events.MessagesCommitted) -> None:
        if event.node != self._node:
            self._hub.note_head(event.conversation, event.head)

    def _membership_changed(self, event: talk_events.MembershipChanged) -> None:
        self._rosters.forget(event.conversation)
        self._changes.note(event.conversation, ChangeKind.MEMBERSHIP)

    def _devices_changed(self, event: people_events.DevicesChanged) -> None:
        self._rosters.forget(event.conversation)
        self._changes.note(event.conversation, ChangeKind.DEVICES)

    def _profile_changed(self, event: people_events.ProfileChanged) -> None:
        self._rosters.forget_profile(event.profile)

    def _keys_low(self, event: people_events.KeysLow) -> None:
        peer = self._hub.find(event.device)
        if peer is not None:
            peer.send_changed(ChangeKind.KEYS_LOW, None, event.left)

    def _moved(self, event: talk_events.DeliveredMoved | talk_events.ReadMoved | talk_events.TypingMoved) -> None:
        if event.node != self._node:
            self._notifier.notify_soon(event)

    def _presence_moved(self, event: talk_events.PresenceMoved) -> None:
        if event.node != self._node:
            self._presence_notifier.notify_soon(event)
