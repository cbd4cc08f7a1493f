"""From the bus to this node: events from elsewhere reach the listeners, the caches and the tasks here."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import trio
from msgspec import Struct

from domain.events import Event
from domain.people import events as people_events
from domain.ports import Bus
from domain.talk import events as talk_events
from relay.cache.revocations import RevocationFeed
from relay.cache.rosters import Rosters
from relay.delivery.hub import Hub
from relay.delivery.notifier import Notifier
from relay.delivery.presence import PresenceNotifier
from relay.fleet.device_connections import DeviceConnections
from relay.fleet.stale_heads import StaleHeads
from relay.metrics.counters import Metrics
from varde_contract.frames import ChangeKind
from varde_contract.ids import ConversationId


class RosterChanges:
    """The rosters that changed and were not looked at yet, each once. Filled from the bus, emptied by one task.

    A roster that was looked at is left alone for `pause` seconds, however often it changes meanwhile: each look makes
    every member fetch it. One account that toggled a whitelist 404 times once made a bystander receive 80,711 frames.
    """

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._changed: dict[ConversationId, ChangeKind] = {}
        self._rests_until: dict[ConversationId, float] = {}
        self._any = False
        self._work = trio.lowlevel.ParkingLot()

    def note(self, conversation: ConversationId, kind: ChangeKind) -> None:
        """Note that a roster changed. A change of members outweighs one of devices."""
        if self._changed.get(conversation) is not ChangeKind.MEMBERSHIP:
            self._changed[conversation] = kind
        self._work.unpark_all()

    def note_any(self) -> None:
        """Note that any roster may have changed, and any device become a member anywhere."""
        self._any = True
        self._work.unpark_all()

    async def wait(self) -> None:
        """Return when there is a roster to be looked at."""
        while not self._any:
            due = min((self._rests_until.get(each, 0.0) for each in self._changed), default=math.inf)
            if due <= trio.current_time():
                return
            with trio.move_on_at(due):
                await self._work.park()  # without a deadline when none has changed: none may ever

    def take(self) -> tuple[Mapping[ConversationId, ChangeKind], bool]:
        """Return the rosters to be looked at, and whether any others may have changed."""
        now = trio.current_time()
        self._rests_until = {each: until for each, until in self._rests_until.items() if until > now}
        due = {each: kind for each, kind in self._changed.items() if each not in self._rests_until}
        self._changed = {each: kind for each, kind in self._changed.items() if each not in due}
        self._rests_until.update(dict.fromkeys(due, now + self._pause))
        any_others, self._any = self._any, False
        return due, any_others


class Bridge:
    """`receive` and `resync` are called by the bus. Plain functions, one row of a table for each event."""

    def __init__(  # noqa: PLR0913 - every part that hears of something is named where it is handed in
        self,
        *,
        node: str,
        hub: Hub,
        rosters: Rosters,
        roster_changes: RosterChanges,
        notifier: Notifier,
        presence_notifier: PresenceNotifier,
        revocations: RevocationFeed,
        device_connections: DeviceConnections,
        stale_heads: StaleHeads,
        metrics: Metrics,
    ) -> None:
        """`node` is this one's name: its own messages, receipts and presence were delivered here already."""
        self._node = node
        self._hub = hub
        self._rosters = rosters
        self._roster_changes = roster_changes
        self._notifier = notifier
        self._presence_notifier = presence_notifier
        self._revocations = revocations
        self._device_connections = device_connections
        self._stale_heads = stale_heads
        self._metrics = metrics
        self._handlers: Final[dict[type[Struct], Callable[[Any], None]]] = {
            talk_events.MessagesCommitted: self._messages_committed,
            talk_events.MembershipChanged: self._membership_changed,
            talk_events.Invited: self._invited,
            people_events.DevicesChanged: self._devices_changed,
            people_events.ProfileChanged: self._profile_changed,
            people_events.TicketsRevoked: revocations.note_event,
            people_events.DeviceConnected: device_connections.note_event,
            people_events.KeysLow: self._keys_low,
            talk_events.DeliveredMoved: self._moved,
            talk_events.ReadMoved: self._moved,
            talk_events.TypingMoved: self._moved,
            talk_events.PresenceMoved: self._presence_moved,
        }

    @contextmanager
    def listen(self, bus: Bus) -> Iterator[None]:
        """Hear the bus while the block runs: what is for every node, and the conversations with listeners here."""
        with bus.listen(self.receive, self.resync) as self._hub.subscriptions:
            yield

    def receive(self, event: Event) -> None:
        """Handle an event from the bus."""
        self._metrics.events_received[type(event)] += 1
        self._handlers[type(event)](event)

    def resync(self, conversations: frozenset[ConversationId] | None) -> None:
        """Look up again what events may have been lost about: these conversations, or anything at all."""
        self._stale_heads.note(conversations)
        if conversations is not None:
            return
        self._metrics.resyncs += 1
        # A lost change of policies moves no version, so what is cached cannot be compared with the store.
        self._rosters.forget_all()
        self._device_connections.tell_again()
        self._roster_changes.note_any()
        self._revocations.ask()

    def _messages_committed(self, event: talk_events.MessagesCommitted) -> None:
        # The event only says how far the log goes. Losing one may cost time, never a message: gaps show by number.
        if event.node != self._node:
            self._hub.note_head(event.conversation, event.head)

    def _membership_changed(self, event: talk_events.MembershipChanged) -> None:
        self._rosters.forget(event.conversation)
        self._roster_changes.note(event.conversation, ChangeKind.MEMBERSHIP)

    def _invited(self, event: talk_events.Invited) -> None:
        peer = self._hub.find(event.device)
        if peer is not None:
            peer.send_changed(ChangeKind.REQUESTS, None, 0)

    def _devices_changed(self, event: people_events.DevicesChanged) -> None:
        self._rosters.forget(event.conversation)
        self._roster_changes.note(event.conversation, ChangeKind.DEVICES)

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
